// What an experienced kubectl user tries next, with every kubectl at hand, and what is refused in so many words.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { findProgram } from '../../cli/preflight.ts';
import { importBusybox } from '../support/busybox.ts';
import { runCommand, startInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const container = (name: string, command: string): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name}, labels: { app: talk } }
spec: { imageName: busybox, command: [sh, -c, "${command}"], terminationGracePeriodSeconds: 1 }
`;
const VOLUME = 'apiVersion: windlass.dev/v1\nkind: Volume\nmetadata: { name: data }\nspec: {}\n';
const SERVICE = `
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: web }
spec:
  template:
    metadata: { labels: { app: web } }
    spec: { imageName: busybox, command: [sleep, "1000000"], terminationGracePeriodSeconds: 1 }
`;

/** Has an input that ends with the first client's, and is not started again. */
const talker = (name: string, command: string): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec: { imageName: busybox, command: [sh, -c, "${command}"], stdin: true, stdinOnce: true, restartPolicy: Never }
`;

/** Runs `kubectl port-forward`, asks through it for the page at `port` and ends it. */
async function getForwarded(program: string, env: NodeJS.ProcessEnv, pod: string, port: number): Promise<string> {
  const forwarding = spawn(program, ['port-forward', pod, `:${port}`], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [forwarding.stdout, forwarding.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  }
  try {
    const local = await waitFor(() => /127\.0\.0\.1:(\d+) ->/.exec(output)?.[1], { what: 'the local port' }).catch(
      () => {
        throw new Error(`no forwarding: ${output}`);
      },
    );
    const response = await fetch(`http://127.0.0.1:${local}/`, { headers: { connection: 'close' } });
    return await response.text();
  } finally {
    const ended = once(forwarding, 'exit');
    forwarding.kill('SIGKILL');
    await ended;
  }
}

test('kubectl, further', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = instance;
  await importBusybox(instance);
  await instance.apply(
    [container('one', 'echo from one; exec sleep 1000000'), container('two', 'echo from two; exec sleep 1000000')].join(
      '---',
    ),
  );
  await kubectlOk(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=60s']);
  const refused = async (args: readonly string[], words: RegExp, input?: string): Promise<void> => {
    const result = await kubectl(args, input === undefined ? {} : { input });
    assert.notEqual(result.code, 0, `${args.join(' ')}: ${result.stdout}`);
    assert.match(result.stderr, words, args.join(' '));
  };

  await t.test('lists in pages and by field', async () => {
    const names = 'container.windlass.dev/one\ncontainer.windlass.dev/two\n';
    assert.equal(await kubectlOk(['get', 'ctr', '--chunk-size=1', '-o', 'name']), names);
    assert.match(await kubectlOk(['get', 'ctr', '--field-selector', 'metadata.name=two']), /^NAME.*\ntwo .*\n$/);
    await refused(['get', 'ctr', '--field-selector', 'spec.no=1'], /field label not supported: spec\.no/);
  });

  await t.test('dry runs and versions that do not fit change nothing', async () => {
    await kubectlOk(['create', '-f', '-', '--dry-run=server'], { input: VOLUME });
    await refused(['get', 'vol', 'data'], /volumes\.windlass\.dev "data" not found/);
    await kubectlOk(['delete', 'ctr', 'one', '--dry-run=server']);
    await refused(['label', 'ctr', 'one', 'a=b', '--resource-version=1'], /the object has been modified/);
    assert.equal(await kubectlOk(['get', 'ctr', 'one', '-o', 'jsonpath={.metadata.labels.a}']), '');
  });

  await t.test('a Service is deleted with, before or without its Containers', async () => {
    for (const cascade of ['foreground', 'background', 'orphan']) {
      await instance.apply(SERVICE);
      await kubectlOk(['wait', '--for=condition=Ready', 'services.windlass.dev/web', '--timeout=30s']);
      await kubectlOk(['delete', 'services.windlass.dev', 'web', `--cascade=${cascade}`, '--timeout=30s']);
      if (cascade === 'foreground') assert.equal((await kubectl(['get', 'ctr', 'web-1'])).code, 1);
      if (cascade === 'background') await kubectlOk(['wait', '--for=delete', 'ctr/web-1', '--timeout=30s']);
    }
    assert.equal(await kubectlOk(['get', 'ctr', 'web-1', '-o', 'jsonpath={.metadata.ownerReferences}']), '[]');
    await instance.apply(SERVICE);
    await waitFor(
      async () => /NameConflict[\s\S]*web-1/.test(await kubectlOk(['describe', 'services.windlass.dev', 'web'])),
      { timeoutMs: 20_000, what: 'the Service to say that the name is taken' },
    );
    await kubectlOk(['delete', 'services.windlass.dev/web', 'ctr/web-1', '--timeout=30s']);
  });

  await t.test('logs by label; exec of what is not there; cp both ways', async () => {
    const logs = await kubectlOk(['logs', '-l', 'app=talk', '--prefix']);
    // kubectl asks for all at once: whichever answers first is first.
    assert.deepEqual(logs.trim().split('\n').toSorted(), ['[pod/one/one] from one', '[pod/two/two] from two']);
    await refused(['logs', 'one', '--previous'], /previous terminated container "one" not found/);
    const missing = await kubectl(['exec', 'one', '--', '/no/such']);
    assert.deepEqual([missing.code, /\/no\/such.*no such file/i.test(missing.stderr)], [127, true], missing.stderr);
    assert.equal((await kubectl(['exec', 'one', '--', '/etc'])).code, 126);
    const folder = join(instance.home, '..', 'copied');
    mkdirSync(folder);
    writeFileSync(join(folder, 'out'), 'there and back\n');
    await kubectlOk(['cp', join(folder, 'out'), 'one:/tmp/out']);
    await kubectlOk(['cp', 'one:/tmp/out', join(folder, 'in')]);
    assert.equal(readFileSync(join(folder, 'in'), 'utf8'), 'there and back\n');
  });

  await t.test('attach: output, input, end', async () => {
    await instance.apply(talker('talker', 'while read x; do echo got $x; done; echo over'));
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/talker', '--timeout=30s']);
    const { stdout } = await kubectl(['attach', '-i', 'talker'], { input: 'one\ntwo\n' });
    assert.equal(stdout, 'got one\ngot two\nover\n');
    await refused(['attach', 'talker'], /is not running|current phase is Succeeded/);
  });

  await t.test('port-forward: connections, one that is refused, one after that', async () => {
    await instance.apply(
      container('page', 'mkdir /www; echo a page > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www'),
    );
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/page', '--timeout=30s']);
    assert.equal(await getForwarded('kubectl', instance.env, 'pod/page', 8080), 'a page\n');
    await assert.rejects(getForwarded('kubectl', instance.env, 'pod/page', 1), /fetch failed/);
    await refused(['port-forward', 'pod/talker', '1:2'], /not running/);
  });

  await t.test('what this version does not have is refused by name', async () => {
    await refused(['apply', '--server-side', '-f', '-'], /server-side apply .* is not supported yet/, VOLUME);
    await refused(['diff', '--server-side', '-f', '-'], /server-side apply .* is not supported yet/, VOLUME);
    await refused(['run', 'x', '--image=busybox'], /pods are a read-only view of containers\.windlass\.dev/);
  });

  await t.test('top tells what pods and nodes use', async () => {
    assert.match(await kubectlOk(['top', 'pods']), /^one +\d+m +\d+Mi/m);
    assert.match(await kubectlOk(['top', 'nodes']), /^NAME .*CPU\(cores\)[\s\S]*\n\S+ +\d+m +\d+% +\d+Mi +\d+%/);
  });

  const folder = dirname(realpathSync(findProgram('kubectl', process.env['PATH']) ?? '/'));
  const others = readdirSync(folder).filter((name) => /^kubectl\.1\.\d+$/.test(name));
  for (const name of others) {
    await t.test(`${name} does the usual`, async () => {
      const program = join(folder, name);
      // Each version keeps what it learnt of the server in its own folder.
      const home = join(instance.home, '..', name);
      mkdirSync(home);
      const run = async (args: string[], input = ''): Promise<string> => {
        const result = await runCommand(program, args, { env: { ...instance.env, HOME: home }, input });
        assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
        return result.stdout;
      };
      assert.match(await run(['api-resources']), /^containers +ctr /m);
      assert.match(await run(['explain', 'ctr.spec.ports']), /hostPort\s+<integer>/);
      await run(['apply', '-f', '-'], VOLUME);
      assert.match(await run(['apply', '-f', '-'], VOLUME), /unchanged/);
      assert.match(await run(['get', 'ctr']), /^one +Running/m);
      assert.match(await run(['describe', 'ctr', 'one']), /Events:[\s\S]*Started/);
      assert.match(await run(['logs', 'one']), /from one/);
      await run(['create', 'configmap', 'skew', '--from-literal=a=b']);
      await run(['delete', 'cm/skew', 'vol/data', '--timeout=30s']);
      assert.equal(await run(['exec', 'one', '--', 'echo', 'hi']), 'hi\n');
      assert.equal(await run(['exec', '-i', 'one', '--', 'cat'], 'there and back'), 'there and back');
      assert.equal(await getForwarded(program, { ...instance.env, HOME: home }, 'pod/page', 8080), 'a page\n');
    });
  }

  await t.test('a wait goes on when the API server is killed', async () => {
    const waiting = spawn('kubectl', ['wait', '-v=6', '--for=jsonpath={.metadata.labels.late}=yes', 'ctr/one'], {
      env: instance.env,
    });
    let [stdout, stderr] = ['', ''];
    waiting.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')));
    waiting.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
    await waitFor(() => /watch=true.* 200 OK/.test(stderr), { what: 'the watch to be open' });
    const { components } = JSON.parse(readFileSync(join(instance.run, 'up.json'), 'utf8')) as {
      components: { name: string; process?: { pid: number } }[];
    };
    const pid = components.find(({ name }) => name === 'apiserver')?.process?.pid;
    assert.ok(pid, 'the API server has no process');
    process.kill(pid, 'SIGKILL');
    const label = ['label', 'ctr', 'one', 'late=yes', '--overwrite'];
    await waitFor(async () => (await kubectl(label)).code === 0, { timeoutMs: 30_000, what: 'the API server again' });
    await waitFor(() => /condition met/.test(stdout), { timeoutMs: 20_000, what: `the end of the wait: ${stderr}` });
    assert.equal((await kubectlOk(['exec', 'two', '--', 'echo', 'still here'])).trim(), 'still here');
  });
});
