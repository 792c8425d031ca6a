import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { openStreams, type StreamClient } from '../../support/stream-client.ts';
import { waitFor } from '../../support/wait.ts';

let shim: TestShim;
let containerId: string;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  containerId = await shim.run('streams', { command: ['sleep', '1000'] });
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

interface Session {
  readonly socket: WebSocket;
  /** Text so far per channel. */
  readonly text: Map<number, string>;
  readonly closed: Promise<unknown>;
}

async function open(
  cmd: string[],
  options: { tty?: boolean; stdin?: boolean } = {},
  protocol = 'v5.channel.k8s.io',
): Promise<Session> {
  const { url } = await shim.cri.runtime.exec({ containerId, cmd, stdout: true, stderr: !options.tty, ...options });
  const socket = new WebSocket(url.replace('http:', 'ws:'), protocol);
  const text = new Map<number, string>();
  socket.on('message', (data: Buffer) => {
    const channel = data[0] ?? -1;
    text.set(channel, (text.get(channel) ?? '') + data.subarray(1).toString());
  });
  const closed = once(socket, 'close');
  await once(socket, 'open');
  return { socket, text, closed };
}

const send = ({ socket }: Session, channel: number, data: string | Uint8Array): void =>
  socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(data)]));

for (const protocol of ['v5.channel.k8s.io', 'v4.channel.k8s.io']) {
  test(`exec over ${protocol} carries both outputs and the exit code`, async (t) => {
    if (!requireRoot(t)) return;
    const session = await open(['sh', '-c', 'echo out; echo err >&2; exit 42'], {}, protocol);
    await session.closed;
    assert.deepEqual([session.text.get(1), session.text.get(2)], ['out\n', 'err\n']);
    const status = JSON.parse(session.text.get(3) ?? '{}') as { reason: string; details: { causes: unknown[] } };
    assert.equal(status.reason, 'NonZeroExitCode');
    assert.deepEqual(status.details.causes, [{ reason: 'ExitCode', message: '42' }]);
  });
}

test('stdin reaches the program and its end does too', async (t) => {
  if (!requireRoot(t)) return;
  const session = await open(['sh', '-c', 'cat; echo done'], { stdin: true });
  send(session, 0, 'one\n');
  send(session, 0, 'two\n');
  send(session, 255, Uint8Array.of(0));
  await session.closed;
  assert.equal(session.text.get(1), 'one\ntwo\ndone\n');
  assert.equal((JSON.parse(session.text.get(3) ?? '{}') as { status: string }).status, 'Success');
});

test('a terminal has the size it is told and one output', async (t) => {
  if (!requireRoot(t)) return;
  const session = await open(['sh'], { stdin: true, tty: true });
  send(session, 4, JSON.stringify({ Width: 133, Height: 47 }));
  await waitFor(
    () => {
      send(session, 0, 'stty size\n');
      return session.text.get(1)?.includes('47 133');
    },
    { what: 'the size of the terminal', intervalMs: 100 },
  );
  send(session, 0, 'exit 4\n');
  await session.closed;
  assert.match(session.text.get(3) ?? '', /"message":"4"/);
});

test('a process left behind with the output open does not hold the session for ever', async (t) => {
  if (!requireRoot(t)) return;
  const session = await open(['sh', '-c', 'echo said; sleep 4322 & exit 7']);
  await session.closed;
  assert.equal(session.text.get(1), 'said\n');
  assert.match(session.text.get(3) ?? '', /"7"/);
});

test('a client that leaves takes its program with it', async (t) => {
  if (!requireRoot(t)) return;
  const session = await open(['sleep', '4321']);
  await waitFor(async () => /4321/.test(await shim.exec(containerId, 'ps', '-o', 'args')));
  session.socket.terminate();
  await waitFor(async () => !/4321/.test(await shim.exec(containerId, 'ps', '-o', 'args')), {
    what: 'the end of the program',
  });
});

async function openSpdy(
  cmd: string[],
  options: { tty?: boolean; stdin?: boolean } = {},
  protocol = 'v4.channel.k8s.io',
): Promise<StreamClient> {
  const { url } = await shim.cri.runtime.exec({ containerId, cmd, stdout: true, stderr: !options.tty, ...options });
  return openStreams(url, 'spdy', options, protocol);
}

for (const protocol of ['v5.channel.k8s.io', 'v4.channel.k8s.io']) {
  test(`exec over SPDY, ${protocol}, carries both outputs and the exit code`, async (t) => {
    if (!requireRoot(t)) return;
    using client = await openSpdy(['sh', '-c', 'echo out; echo err >&2; exit 42'], {}, protocol);
    const { reason, details } = await client.status();
    assert.deepEqual([client.stdout, client.stderr], ['out\n', 'err\n']);
    assert.equal(reason, 'NonZeroExitCode');
    assert.deepEqual(details?.causes, [{ reason: 'ExitCode', message: '42' }]);
  });
}

for (const protocol of ['v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io']) {
  test(`exec over SPDY, ${protocol}, tells the exit code in words`, async (t) => {
    if (!requireRoot(t)) return;
    using failing = await openSpdy(['sh', '-c', 'echo out; exit 42'], {}, protocol);
    assert.match((await failing.status()).message ?? '', /exit code 42/);
    assert.equal(failing.stdout, 'out\n');
    using good = await openSpdy(['true'], {}, protocol);
    assert.equal((await good.status()).message, '');
  });
}

test('exec over SPDY: stdin of any size reaches the program and its end does too', async (t) => {
  if (!requireRoot(t)) return;
  using client = await openSpdy(['sh', '-c', 'sleep 0.5; wc -c; echo done'], { stdin: true });
  for (let index = 0; index < 100; index += 1) client.write(Buffer.alloc(50_000));
  client.endStdin();
  assert.equal((await client.status()).status, 'Success');
  assert.equal(client.stdout, '5000000\ndone\n');
});

test('exec over SPDY: a terminal has its size before the first byte', async (t) => {
  if (!requireRoot(t)) return;
  using client = await openSpdy(['sh', '-c', 'while [ "$(stty size)" != "47 133" ]; do :; done; echo sized'], {
    stdin: true,
    tty: true,
  });
  client.resize(133, 47);
  await client.status();
  assert.match(client.stdout, /sized/);
});

test('exec over SPDY: a process left behind with the output open does not hold the session for ever', async (t) => {
  if (!requireRoot(t)) return;
  using client = await openSpdy(['sh', '-c', 'echo said; sleep 4323 & exit 7']);
  assert.deepEqual((await client.status()).details?.causes, [{ reason: 'ExitCode', message: '7' }]);
  assert.equal(client.stdout, 'said\n');
});
