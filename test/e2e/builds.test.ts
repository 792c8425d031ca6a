// Images built as resources on a whole instance: Dockerfiles from every kind of context, their log, their failures, and
// builds that a restart of the node's processes interrupts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { readUpState } from '../../cli/up-state.ts';
import { describeInstance } from '../../lib/instance.ts';
import { busyboxTar, importBusybox } from '../support/busybox.ts';
import { canBuild } from '../support/can-build.ts';
import { createInstance, runCommand } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const PATIENCE = { timeoutMs: 180_000, intervalMs: 100 };

interface Status {
  readonly digest?: string;
  readonly progress?: { readonly step?: string };
  readonly build?: { readonly cachedSteps?: number; readonly commit?: string; readonly finishedAt?: string };
  readonly config?: { readonly labels?: Readonly<Record<string, string>>; readonly cmd?: readonly string[] };
  readonly history?: readonly { readonly createdBy?: string }[];
  readonly conditions?: readonly { readonly type: string; readonly reason: string; readonly message: string }[];
}

test('images are built as resources', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'conmon', 'nft', 'kubectl', 'git', 'tar', 'curl')) return;
  const instance = await createInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  await instance.up();
  if (!(await canBuild(instance))) return t.skip('the runtime does not build images');
  await importBusybox(instance);
  const folder = mkdtempSync(join(tmpdir(), 'windlass-test-contexts-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));

  const apply = (name: string, spec: object): Promise<string> =>
    instance.apply(JSON.stringify({ apiVersion: 'windlass.dev/v1', kind: 'Image', metadata: { name }, spec }));
  const statusOf = async (name: string): Promise<Status> =>
    JSON.parse((await instance.kubectlOk(['get', 'img', name, '-o', 'jsonpath={.status}'])) || '{}') as Status;
  const reasonOf = ({ conditions = [] }: Status, type = 'Built') => conditions.find((one) => one.type === type);
  const reach = async (name: string, reason: string): Promise<Status> => {
    let last: Status = {};
    await waitFor(async () => reasonOf((last = await statusOf(name)))?.reason === reason, {
      ...PATIENCE,
      what: `${name} being ${reason}`,
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`, { cause: error });
    });
    return last;
  };
  const logOf = (name: string, query = ''): Promise<string> =>
    instance.kubectlOk(['get', '--raw', `/apis/windlass.dev/v1/namespaces/default/images/${name}/log${query}`]);
  /** Output of a container of the image. */
  const run = async (name: string, image: object): Promise<string> => {
    const spec = { ...image, restartPolicy: 'Never', terminationGracePeriodSeconds: 0 };
    await instance.apply(
      JSON.stringify({ apiVersion: 'windlass.dev/v1', kind: 'Container', metadata: { name }, spec }),
    );
    const phase = () => instance.kubectlOk(['get', 'ctr', name, '-o', 'jsonpath={.status.phase}']);
    const end = await waitFor(async () => /Succeeded|Failed/.exec(await phase())?.[0], {
      ...PATIENCE,
      what: `${name} to end`,
    });
    const output = await instance.kubectlOk(['logs', name]);
    assert.equal(end, 'Succeeded', output);
    await instance.kubectlOk(['delete', 'ctr', name, '--wait=false']);
    return output;
  };
  const FROM = 'FROM windlass.local/busybox:1\nENTRYPOINT []\n';

  await t.test('from text, and a Container runs it', async () => {
    const Dockerfile = `${FROM}LABEL a=b\nCOPY greeting /greeting\nRUN cat /greeting > /said && echo seen\nCMD ["cat", "/said"]\n`;
    await apply('inline', {
      build: { context: { inline: { Dockerfile, greeting: 'hello\n' } }, labels: { vendor: 'x' } },
      tags: ['shop/inline:1'],
    });
    const { config, history = [], build } = await reach('inline', 'Built');
    assert.deepEqual(config?.labels, { a: 'b', vendor: 'x' });
    assert.ok(history.some(({ createdBy }) => createdBy?.includes('/greeting')));
    assert.ok(build?.finishedAt);
    assert.equal(await run('by-tag', { image: 'shop/inline:1' }), 'hello\n');
    assert.equal(await run('by-name', { imageName: 'inline' }), 'hello\n');
    const log = await logOf('inline');
    assert.match(log, /seen/);
    assert.match(log, /RUN cat \/greeting/);
    assert.match(await logOf('inline', '?timestamps=true&tailLines=1'), /^\d{4}-\d\d-\d\dT/);
  });

  await t.test('again, from its cache, when it is asked to be', async () => {
    const { digest, build } = await statusOf('inline');
    const patch = { spec: { build: { rebuiltAt: '2026-01-01T00:00:00Z' } } };
    await instance.kubectlOk(['patch', 'img', 'inline', '--type=merge', '-p', JSON.stringify(patch)]);
    await waitFor(async () => (await statusOf('inline')).build?.cachedSteps !== build?.cachedSteps, PATIENCE);
    const again = await statusOf('inline');
    assert.equal(again.digest, digest);
    assert.match(await logOf('inline'), /CACHED/);
    assert.doesNotMatch(await logOf('inline', '?previous=true'), /CACHED/);
  });

  await t.test('a folder of the node, looked at again and again', async () => {
    const context = join(folder, 'source');
    mkdirSync(context);
    writeFileSync(join(context, 'web.dockerfile'), `${FROM}COPY data /data\nCMD ["cat", "/data"]\n`);
    writeFileSync(join(context, 'data'), 'one\n');
    await apply('folder', {
      build: { context: { hostPath: context }, dockerfile: 'web.dockerfile' },
      refreshSeconds: 10,
    });
    const { digest } = await reach('folder', 'Built');
    assert.equal(await run('one', { imageName: 'folder' }), 'one\n');
    writeFileSync(join(context, 'data'), 'two\n');
    await waitFor(async () => (await statusOf('folder')).digest !== digest, { ...PATIENCE, what: 'another build' });
    assert.equal(await run('two', { imageName: 'folder' }), 'two\n');
    await instance.kubectlOk(['delete', 'img', 'folder', '--timeout=60s'], { timeoutMs: 70_000 });
  });

  await t.test('a repository, whose head moves', async () => {
    const repository = join(folder, 'repository');
    mkdirSync(repository);
    const git = (...args: string[]): string =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
        encoding: 'utf8',
      });
    git('init', '-q', '-b', 'main');
    const commit = (text: string): string => {
      writeFileSync(join(repository, 'Dockerfile'), `${FROM}CMD ["echo", "${text}"]\n`);
      git('add', '.');
      git('commit', '-q', '-m', text);
      return git('rev-parse', 'HEAD').trim();
    };
    const first = commit('one');
    await apply('git', { build: { context: { git: `file://${repository}#main` } }, refreshSeconds: 10 });
    assert.equal((await reach('git', 'Built')).build?.commit, first);
    const second = commit('two');
    await waitFor(async () => (await statusOf('git')).build?.commit === second, {
      ...PATIENCE,
      what: 'the new commit',
    });
    assert.deepEqual((await statusOf('git')).config?.cmd, ['echo', 'two']);
    await instance.kubectlOk(['delete', 'img', 'git', '--timeout=60s'], { timeoutMs: 70_000 });
  });

  await t.test('an archive that was uploaded, by windlass and by kubectl', async () => {
    const context = join(folder, 'context');
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), `${FROM}CMD ["echo", "from an archive"]\n`);
    const { stdout, stderr, code } = await instance.windlass(['upload', context]);
    assert.equal(code, 0, stderr);
    const digest = stdout.trim();
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    await apply('archive', { build: { context: { archive: digest } } });
    await reach('archive', 'Built');
    assert.equal(await run('from-archive', { imageName: 'archive' }), 'from an archive\n');
    const tar = join(folder, 'rootfs.tar.gz');
    writeFileSync(tar, gzipSync(readFileSync(await busyboxTar())));
    const path = '/apis/windlass.dev/v1/namespaces/default/archives';
    const made = JSON.parse(await instance.kubectlOk(['create', '--raw', path, '-f', tar])) as { digest: string };
    await apply('imported', {
      import: { archive: made.digest, config: { command: ['sh', '-c', 'echo imported'] } },
    });
    assert.equal(await run('from-import', { imageName: 'imported' }), 'imported\n');
    const expiry = () => instance.kubectlOk(['get', 'archives', '-o', 'jsonpath={.items[*].expiresAt}']);
    await waitFor(async () => (await expiry()).trim() === '', { ...PATIENCE, what: 'both to be in use' });
  });

  await t.test('what is wrong is said with file, line, instruction and output', async () => {
    const dockerfile = (text: string): object => ({ build: { context: { inline: { Dockerfile: text } } } });
    await apply('typo', dockerfile(`${FROM}RNU make\n`));
    const typo = reasonOf(await reach('typo', 'DockerfileInvalid'));
    assert.match(typo?.message ?? '', /^Dockerfile:3(:1)?: .*RNU/);
    await apply('failing', dockerfile(`${FROM}RUN echo before && echo trouble >&2 && exit 3\n`));
    const failing = reasonOf(await reach('failing', 'BuildFailed'));
    assert.match(failing?.message ?? '', /Dockerfile:3/);
    assert.match(failing?.message ?? '', /RUN echo before/);
    assert.match(failing?.message ?? '', /trouble/);
    await waitFor(async () => /BuildFailed/.test(await instance.kubectlOk(['get', 'events'])), {
      ...PATIENCE,
      what: 'the Event of the failure',
    });
    await apply('failing', dockerfile(`${FROM}RUN true\n`));
    await reach('failing', 'Built');
  });

  await t.test('a secret is there for a step, and nowhere else', async () => {
    await instance.kubectlOk(['create', 'secret', 'generic', 'login', '--from-literal=token=hush-hush']);
    const Dockerfile = `${FROM}RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length\nCMD ["cat", "/length"]\n`;
    await apply('secretive', {
      build: { context: { inline: { Dockerfile } }, secrets: [{ id: 'token', secretName: 'login' }] },
    });
    await reach('secretive', 'Built');
    assert.equal((await run('length', { imageName: 'secretive' })).trim(), '9');
    const seen = [
      await logOf('secretive'),
      await instance.kubectlOk(['get', 'img,events', '-o', 'json']),
      (await runCommand('grep', ['-rl', 'hush-hush', join(instance.home, 'content'), join(instance.home, 'logs')]))
        .stdout,
    ];
    for (const text of seen) assert.doesNotMatch(text, /hush-hush/);
    assert.equal(seen[2], '');
  });

  for (const component of ['node-agent', 'runtime-shim'] as const) {
    await t.test(`a build that a kill of the ${component} interrupts starts over`, async () => {
      const name = `interrupted-${component}`;
      const Dockerfile = `${FROM}RUN echo begun; sleep 4; echo done > /done\nCMD ["cat", "/done"]\n`;
      await apply(name, { build: { context: { inline: { Dockerfile } }, noCache: true } });
      await waitFor(async () => /begun/.test(await logOf(name).catch(() => '')), {
        ...PATIENCE,
        what: 'the step to run',
      });
      const { components = [] } = readUpState(describeInstance(instance.home, instance.run)) ?? {};
      const before = components.find((one) => one.name === component)?.process?.pid;
      assert.ok(before);
      process.kill(before, 'SIGKILL');
      await reach(name, 'Built');
      assert.equal(await run(`after-${component}`, { imageName: name }), 'done\n');
    });
  }

  await t.test('a deleted Image ends its build', async () => {
    const Dockerfile = `${FROM}RUN echo begun; sleep 1000\n`;
    await apply('endless', { build: { context: { inline: { Dockerfile } }, noCache: true } });
    await waitFor(async () => /begun/.test(await logOf('endless').catch(() => '')), {
      ...PATIENCE,
      what: 'the step to run',
    });
    await instance.kubectlOk(['delete', 'img', 'endless', '--timeout=60s'], { timeoutMs: 70_000 });
    const isRunning = async (): Promise<boolean> => (await runCommand('pgrep', ['-f', '^sleep 1000$'])).code === 0;
    await waitFor(async () => !(await isRunning()), { ...PATIENCE, what: 'the step to end' });
  });
});
