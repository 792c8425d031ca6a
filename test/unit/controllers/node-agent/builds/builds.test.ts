import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import { describeFailure, failureReason } from '../../../../../controllers/node-agent/builds/build-failure.ts';
import {
  buildLogFolder,
  openBuildLog,
  removeStrayBuildLogs,
} from '../../../../../controllers/node-agent/builds/build-log.ts';
import { hashInputs, toImageBuild } from '../../../../../controllers/node-agent/builds/build-request.ts';
import { findCommit, readGitHead } from '../../../../../controllers/node-agent/builds/git-head.ts';
import { listCredentials } from '../../../../../controllers/node-agent/images/pull-secrets.ts';
import { systemClock } from '../../../../../lib/clock.ts';
import { makeImage } from '../../../../support/objects.ts';

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-builds-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const failure = {
  ...{ message: 'm', file: 'Dockerfile', line: 3, column: 5, instruction: 'RUN make', isFinal: true },
  ...{ reason: 'Invalid', output: [], missingImage: '' },
};

test('describeFailure() says where, what, and how the output ended, each once', () => {
  assert.equal(describeFailure(failure), 'Dockerfile:3:5: RUN make: m');
  assert.equal(describeFailure({ ...failure, output: ['one', '', 'two'] }), 'Dockerfile:3:5: RUN make: m\none\ntwo');
  const parse = { ...failure, instruction: '', message: 'unknown instruction FRM' };
  assert.equal(describeFailure(parse), 'Dockerfile:3:5: unknown instruction FRM');
  for (const rest of ['RUN make: m', 'unknown instruction "RNU"', `RUN ${'x'.repeat(200)}...: m`]) {
    const told = { ...failure, instruction: `RUN ${'x'.repeat(300)}`, message: `Dockerfile:3:5: ${rest}` };
    assert.equal(describeFailure(told), told.message);
  }
  const long = describeFailure({ ...failure, output: Array.from({ length: 20 }, () => 'x'.repeat(5000)) });
  assert.ok(long.length < 2000, String(long.length));
});

test('failureReason() tells a Dockerfile that cannot be read from a command that fails', () => {
  assert.equal(failureReason(failure, false), 'DockerfileInvalid');
  assert.equal(failureReason(failure, true), 'BuildFailed');
  assert.equal(failureReason({ ...failure, reason: 'SecretNotFound' }, true), 'SecretNotFound');
  const said = 'RUN echo secret not found: exit code 1';
  assert.equal(failureReason({ ...failure, message: said }, true), 'BuildFailed');
});

test('hashInputs() changes with what is built and the versions of its Secrets, not with names', () => {
  const build = { context: { inline: { Dockerfile: 'FROM scratch' } } };
  const hash = hashInputs(makeImage('a', { build }), []);
  assert.equal(hashInputs(makeImage('b', { build, tags: ['x'], retain: true }), []), hash);
  assert.notEqual(hashInputs(makeImage('a', { build }), ['npm uid 7']), hash);
  assert.notEqual(hashInputs(makeImage('a', { build: { ...build, rebuiltAt: 'x' } }), []), hash);
});

test('toImageBuild() writes every reference out in full and asks for no network where none is wanted', () => {
  const image = makeImage('a', {
    build: { context: { git: 'https://h/r.git' }, network: 'none', cacheFrom: ['c'], cacheTo: 'r.example/c:1' },
    tags: ['web'],
  });
  const { context, network, references, cacheFrom, cacheTo } = toImageBuild(image, {
    ...{ kind: 'read', secrets: [], credentials: [], versions: [] },
  });
  assert.deepEqual(
    { context, network, references: references.slice(1), cacheFrom, cacheTo },
    {
      context: { kind: 'git', url: 'https://h/r.git' },
      network: undefined,
      references: ['docker.io/library/web:latest'],
      cacheFrom: ['docker.io/library/c:latest'],
      cacheTo: 'r.example/c:1',
    },
  );
});

test('listCredentials() gives one login per registry, that of the bare host first', () => {
  const auths = { 'h/team': { username: 'a', password: '1' }, 'https://h': { username: 'b', password: '2' }, x: {} };
  const data = { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data };
  assert.deepEqual(listCredentials([secret]), [{ registry: 'h', username: 'b', password: '2' }]);
});

test('findCommit() finds the commit of a branch, a tag, or HEAD', () => {
  const listing =
    'aaa\tHEAD\nbbb\trefs/heads/v1\nccc\trefs/tags/v1\nddd\trefs/tags/v1^{}\neee\trefs/tags/v2\nfff\trefs/tags/v2^{}\n';
  assert.deepEqual(
    ['HEAD', 'v1', 'v2', 'v3'].map((ref) => findCommit(listing, ref)),
    ['aaa', 'bbb', 'fff', undefined],
  );
});

test('readGitHead() asks a repository, and says what is wrong with it', async (t) => {
  const folder = makeFolder(t);
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { encoding: 'utf8' });
  git('init', '-q', '-b', 'main');
  git('commit', '-q', '--allow-empty', '-m', 'one');
  const { signal } = new AbortController();
  assert.equal(await readGitHead(`file://${folder}#main`, signal), git('rev-parse', 'HEAD').trim());
  await assert.rejects(readGitHead(`file://${folder}#nope`, signal), /has no branch or tag "nope"/);
  await assert.rejects(
    readGitHead('file:///no/such/repository', signal),
    /failed to ask file:\/\/\/no\/such\/repository/,
  );
  await assert.rejects(readGitHead('http://me:hush@127.0.0.1:1/r.git', signal), (error: Error) => {
    assert.match(error.message, /^failed to ask http:\/\/127\.0\.0\.1:1\/r\.git: /);
    assert.doesNotMatch(inspect(error, { depth: 9 }), /hush/);
    return true;
  });
});

test('readGitHead() asks nobody whom no build may reach', async () => {
  const { signal } = new AbortController();
  for (const url of [
    'http://169.254.169.254/r.git',
    'https://user@[::ffff:169.254.169.254]/r.git#main',
    'http://2852039166/r.git',
    'git://0xa9fea9fe/r.git',
    'ssh://git@[fe80::1]/r.git',
    'git@169.254.169.254:r.git',
    'http://2130706433.localhost.invalid@169.254.1.1/r.git',
  ]) {
    await assert.rejects(readGitHead(url, signal), { reason: 'Forbidden', message: /link-local/ }, url);
  }
  await assert.rejects(readGitHead('ext::sh -c true', signal), { reason: 'Invalid' });
  await assert.rejects(readGitHead('https://h/r.git#--upload-pack=x', signal), { reason: 'Invalid' });
});

test('openBuildLog() writes CRI lines, keeps the log before, and removes what is older', async (t) => {
  const root = makeFolder(t);
  const owner = { namespace: 'n', name: 'i', uid: 'u' };
  const folder = buildLogFolder(root, owner);
  for (let round = 0; round < 3; round += 1) {
    const log = await openBuildLog(root, owner, systemClock);
    assert.equal(log.attempt, round);
    await log.write('one\ntwo\n');
    await log.close();
  }
  assert.deepEqual(readdirSync(folder).toSorted(), ['1.log', '2.log']);
  assert.match(readFileSync(join(folder, '2.log'), 'utf8'), /^\S+Z stdout F one\n\S+Z stdout F two\n$/);
  const large = await openBuildLog(root, owner, systemClock);
  for (let piece = 0; piece < 12; piece += 1) await large.write(`${'x'.repeat(2 ** 20)}\n`);
  await large.close();
  assert.equal(readdirSync(folder).filter((name) => name.startsWith('3.log')).length, 2);
  writeFileSync(join(root, 'stray'), '');
  await removeStrayBuildLogs(root, (uid) => uid === 'u');
  assert.deepEqual(readdirSync(root), ['n_i_u']);
  await removeStrayBuildLogs(join(root, 'absent'), () => false);
});
