import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ContainerConfig, Draft } from '../../../cri/messages.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { openStreams, TRANSPORTS, type StreamClient, type Transport } from '../../support/stream-client.ts';
import { waitFor } from '../../support/wait.ts';

let shim: TestShim;
let sandboxId: string;
let count = 0;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  sandboxId = await shim.runSandbox('attach');
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

async function create(config: Draft<ContainerConfig>): Promise<string> {
  count += 1;
  return shim.create(sandboxId, {
    metadata: { name: `c${count}`, attempt: 0 },
    logPath: `c${count}.log`,
    ...config,
  });
}

async function run(script: string, config: Draft<ContainerConfig> = {}): Promise<string> {
  const containerId = await create({ command: ['sh', '-c', script], ...config });
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
}

async function attach(
  containerId: string,
  transport: Transport,
  wanted: { tty?: boolean; stdin?: boolean } = {},
): Promise<StreamClient> {
  const flags = { tty: false, stdin: false, stdout: true, stderr: !wanted.tty, ...wanted };
  const { url } = await shim.cri.runtime.attach({ containerId, ...flags });
  return openStreams(url, transport, flags);
}

for (const transport of TRANSPORTS) {
  test(`attach over ${transport} loses no byte and keeps stdout and stderr apart`, async (t) => {
    if (!requireRoot(t)) return;
    // Waits for its input, so that the client is there for the first byte.
    const script = 'read x; seq 1 200000; seq 1 50000 >&2; seq 200001 300000; exit 3';
    const containerId = await run(script, { stdin: true, stdinOnce: true });
    using client = await attach(containerId, transport, { stdin: true });
    client.write('go\n');
    assert.equal((await client.status()).status, 'Success');
    const numbers = (from: number, to: number): string =>
      Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join('');
    assert.equal(client.stdout === numbers(1, 300_000), true, 'stdout is whole');
    assert.equal(client.stderr === numbers(1, 50_000), true, 'stderr is whole');
  });

  test(`attach over ${transport} sizes the container's terminal at once`, async (t) => {
    if (!requireRoot(t)) return;
    const containerId = await run('while read x; do stty size; done', { tty: true, stdin: true });
    using client = await attach(containerId, transport, { tty: true, stdin: true });
    client.resize(133, 47);
    await waitFor(
      () => {
        client.write('\n');
        return client.stdout.includes('47 133');
      },
      { what: 'the size', intervalMs: 20 },
    );
  });
}

test('several clients see the same, and one that leaves takes nothing with it', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('while read x; do echo "got $x"; done', { stdin: true });
  const leaving = await attach(containerId, 'spdy', { stdin: true });
  using staying = await attach(containerId, 'websocket');
  using writing = await attach(containerId, 'spdy', { stdin: true });
  leaving.write('one\n');
  await waitFor(() => [leaving, staying, writing].every(({ stdout }) => stdout === 'got one\n'));
  leaving[Symbol.dispose]();
  writing.write('two\n');
  await waitFor(() => [staying, writing].every(({ stdout }) => stdout === 'got one\ngot two\n'));
  assert.equal((await shim.status(containerId)).state, 'CONTAINER_RUNNING');
});

test('stdinOnce ends the input with the first client that had it, not with one that had none', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('cat; echo over; sleep 1000', { stdin: true, stdinOnce: true });
  const watching = await attach(containerId, 'spdy');
  watching[Symbol.dispose]();
  await watching.closed();
  using client = await attach(containerId, 'spdy', { stdin: true });
  client.write('still open\n');
  await waitFor(() => client.stdout === 'still open\n');
  client.endStdin();
  await waitFor(() => client.stdout === 'still open\nover\n');
});

test('without stdinOnce the input stays open when a client ends its own or leaves', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('cat', { stdin: true });
  const first = await attach(containerId, 'websocket', { stdin: true });
  first.write('one\n');
  first.endStdin();
  await waitFor(() => first.stdout === 'one\n');
  first[Symbol.dispose]();
  using second = await attach(containerId, 'spdy', { stdin: true });
  second.write('two\n');
  await waitFor(() => second.stdout === 'two\n');
});

test('what a client sends to a container without input is dropped', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('sleep 0.3; echo alive; sleep 1000');
  using client = await attach(containerId, 'spdy', { stdin: true });
  client.write(Buffer.alloc(300_000, 'x'));
  client.endStdin();
  await waitFor(() => client.stdout === 'alive\n');
});

test('a container that is created is attached before its first byte', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await create({ command: ['sh', '-c', 'echo first'] });
  using client = await attach(containerId, 'spdy');
  await shim.cri.runtime.startContainer({ containerId });
  assert.equal((await client.status()).status, 'Success');
  assert.equal(client.stdout, 'first\n');
});

test('attach to an ended container is refused, also when it ended after the URL was made', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('read x', { stdin: true });
  const flags = { stdin: false, stdout: true, stderr: true, tty: false };
  const { url } = await shim.cri.runtime.attach({ containerId, ...flags });
  await shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
  using client = await openStreams(url, 'spdy', flags);
  assert.match((await client.status()).message ?? '', /not running/);
  await assert.rejects(shim.cri.runtime.attach({ containerId, ...flags }), /not running/);
});

test('a client that does not read is cut off; the container and the others go on', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('read x; head -c 40000000 /dev/zero; echo; read y; echo after', { stdin: true });
  using idle = await attach(containerId, 'spdy');
  using idleToo = await attach(containerId, 'websocket');
  using reading = await attach(containerId, 'spdy', { stdin: true });
  idle.pause();
  idleToo.pause();
  reading.write('go\n');
  await waitFor(() => reading.stdoutBytes === 40_000_001, { what: 'all of the output', timeoutMs: 25_000 });
  reading.write('go\n');
  await waitFor(() => reading.stdoutBytes === 40_000_007, { what: 'the output after that' });
  for (const client of [idle, idleToo]) {
    client.resume();
    await client.closed();
    assert.ok(client.stdoutBytes < 40_000_000);
  }
});

test('Attach refuses what cannot be', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await run('sleep 1000');
  await assert.rejects(shim.cri.runtime.attach({ containerId }), /one of stdin, stdout and stderr/);
  await assert.rejects(shim.cri.runtime.attach({ containerId, tty: true, stdout: true, stderr: true }), /stderr/);
  await assert.rejects(shim.cri.runtime.attach({ containerId: 'f'.repeat(64), stdout: true }), /does not exist/);
});
