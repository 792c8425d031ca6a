import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { freePorts } from '../../../cli/ports.ts';
import { errnoOf } from '../../../lib/errors.ts';
import { parseGitUrl } from '../../../lib/git-url.ts';
import { openGit } from '../../../lib/run-git.ts';
import { waitFor } from '../../support/wait.ts';

const HOST = 'repository.invalid';

/** A repository below a folder with the name of a host. */
function makeRepository(t: TestContext): { root: string; commit: string } {
  const root = mkdtempSync(join(tmpdir(), 'windlass-git-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const folder = join(root, HOST, 'r.git');
  mkdirSync(folder, { recursive: true });
  const env = { PATH: process.env['PATH'], HOME: root, GIT_CONFIG_NOSYSTEM: '1' };
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      encoding: 'utf8',
      env,
    });
  git('init', '-q', '--bare', '-b', 'main');
  const tree = execFileSync('git', ['-C', folder, 'hash-object', '-t', 'tree', '-w', '--stdin'], { input: '', env });
  const commit = git('commit-tree', '-m', 'one', tree.toString().trim()).trim();
  git('update-ref', 'refs/heads/main', commit);
  git('update-server-info');
  return { root, commit };
}

/** What `ls-remote` says of the address when its host is at 127.0.0.1, which nobody but the looker knows. */
async function ask(t: TestContext, url: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-git-home-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const address = parseGitUrl(url, { allowsLocal: false });
  const options = { folder, verb: 'ask', signal: AbortSignal.timeout(20_000), find: async () => ['127.0.0.1'] };
  const git = await openGit(address, options);
  return git.run(['ls-remote', '--', git.remote, 'refs/heads/main']);
}

async function serveFiles(t: TestContext, root: string): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer(({ url = '', headers }, response) => {
    const path = url.split('?')[0] ?? '';
    asked.push(`${headers.host?.split(':')[0]} ${path}`);
    try {
      if (path.startsWith('/away')) response.writeHead(302, { location: path.slice('/away'.length) }).end();
      else response.end(readFileSync(join(root, HOST, path)));
    } catch (error) {
      response.writeHead(errnoOf(error) === 'ENOENT' ? 404 : 500).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return { port: (server.address() as AddressInfo).port, asked };
}

test('openGit() makes git go over HTTP to the address that was looked at, under its name, and nowhere else', async (t) => {
  const { root, commit } = makeRepository(t);
  const { port, asked } = await serveFiles(t, root);
  assert.equal(await ask(t, `http://${HOST}:${port}/r.git`), `${commit}\trefs/heads/main\n`);
  assert.equal(asked[0], `${HOST} /r.git/info/refs`);
  const before = asked.length;
  await assert.rejects(ask(t, `http://me:hush@${HOST}:${port}/away/r.git`), (error: Error) => {
    assert.match(error.message, /^failed to ask http:\/\/repository\.invalid:\d+\/away\/r\.git: .* 302$/s);
    assert.doesNotMatch(error.message, /hush/);
    return true;
  });
  assert.deepEqual(asked.slice(before), [`${HOST} /away/r.git/info/refs`]);
});

test("openGit() does the same with git's own protocol", async (t) => {
  const { root, commit } = makeRepository(t);
  const [port = 0] = await freePorts(1);
  // In a group of its own: git starts the daemon proper as another process.
  const daemon = spawn(
    'git',
    ['daemon', '--listen=127.0.0.1', `--port=${port}`, '--export-all', `--interpolated-path=${root}/%H%D`],
    { stdio: 'ignore', detached: true, env: { PATH: process.env['PATH'], HOME: root } },
  );
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  t.after(async () => {
    process.kill(-(daemon.pid as number), 'SIGKILL');
    await exited;
  });
  await waitFor(() => answers(port), { what: 'git daemon to listen' });
  assert.equal(await ask(t, `git://${HOST}:${port}/r.git`), `${commit}\trefs/heads/main\n`);
  await assert.rejects(ask(t, `git://other.invalid:${port}/r.git`), /failed to ask git:\/\/other\.invalid:\d+\/r\.git/);
});

test('openGit() says what it cannot find, and reads no more than it may', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-git-home-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { root } = makeRepository(t);
  const { signal } = new AbortController();
  const options = { folder, verb: 'ask', signal };
  await assert.rejects(openGit(parseGitUrl(`https://u:p@${HOST}/r.git`, { allowsLocal: false }), options), {
    reason: 'Unavailable',
    message: `failed to ask https://${HOST}/r.git: host ${HOST} cannot be found`,
  });
  const local = parseGitUrl(join(root, HOST, 'r.git'), { allowsLocal: true });
  const git = await openGit(local, { ...options, maxOutputBytes: 10 });
  await assert.rejects(git.run(['ls-remote', '--', git.remote]), /the answer has more than 10 bytes/);
});

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.end());
  });
}
