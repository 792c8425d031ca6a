import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { connectSpdy, type TestSpdy, type TestStream } from '../../support/spdy-client.ts';
import { waitFor } from '../../support/wait.ts';
import { connectTunnel } from '../../support/websocket-tunnel.ts';

let shim: TestShim;
let podSandboxId: string;
let containerId: string;
const isRoot = process.getuid?.() === 0;
/** Answers with what it gets and, once that has ended, one line more. */
const ECHO = 7001;
/** Sends a lot and ends. */
const SOURCE = 7002;
/** Takes a connection and never reads from it. */
const DEAF = 7003;
const SOURCE_BYTES = 20_000_000;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  podSandboxId = await shim.runSandbox('ports');
  const serve = (port: number, program: string): string => `nc -ll -p ${port} -e sh -c '${program}' &`;
  const script = [
    serve(ECHO, 'cat; echo over'),
    serve(SOURCE, `head -c ${SOURCE_BYTES} /dev/zero`),
    serve(DEAF, 'sleep 1000'),
    'wait',
  ];
  containerId = await shim.create(podSandboxId, {
    command: ['sh', '-c', script.join('\n')],
  });
  await shim.cri.runtime.startContainer({ containerId });
  for (const port of [ECHO, SOURCE, DEAF]) {
    await waitFor(async () => (await shim.exec(containerId, 'netstat', '-ltn')).includes(`:${port}`));
  }
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

const openUrl = async (port: number[] = []): Promise<string> =>
  (await shim.cri.runtime.portForward({ podSandboxId, port })).url;

let requests = 0;
interface Forwarded {
  readonly error: TestStream;
  readonly data: TestStream;
}
function forward(spdy: TestSpdy, port: number): Forwarded {
  requests += 1;
  const headers = { port: String(port), requestid: String(requests) };
  const error = spdy.open({ streamtype: 'error', ...headers });
  error.end();
  return { error, data: spdy.open({ streamtype: 'data', ...headers }) };
}

const bytesOf = ({ received }: TestStream): number => received.reduce((sum, { length }) => sum + length, 0);

for (const [name, connect] of [
  ['SPDY', (url: string) => connectSpdy(url, 'portforward.k8s.io')],
  ['SPDY in a WebSocket', connectTunnel],
] as const) {
  test(`port forwarding over ${name}: both halves of each connection end on their own`, async (t) => {
    if (!requireRoot(t)) return;
    using spdy = await connect(await openUrl());
    const connections = Array.from({ length: 5 }, () => forward(spdy, ECHO));
    for (const [index, { data }] of connections.entries()) data.write(`number ${index}\n`);
    for (const [index, { data }] of connections.entries()) {
      await waitFor(() => data.text === `number ${index}\n`, { what: 'the echo' });
    }
    for (const [index, { data, error }] of connections.entries()) {
      data.end();
      await data.ended();
      assert.equal(data.text, `number ${index}\nover\n`);
      await error.ended();
      assert.equal(error.text, '');
    }
  });

  test(`port forwarding over ${name}: a refused connection is told, and the others go on`, async (t) => {
    if (!requireRoot(t)) return;
    using spdy = await connect(await openUrl());
    const good = forward(spdy, ECHO);
    good.data.write('before\n');
    const bad = forward(spdy, 1);
    await bad.error.ended();
    assert.match(bad.error.text, /failed to connect to port 1 .*ECONNREFUSED/);
    await waitFor(() => bad.data.resetStatus !== undefined, { what: 'the end of the data stream' });
    good.data.write('after\n');
    await waitFor(() => good.data.text === 'before\nafter\n');
  });
}

test('port forwarding brings every byte, beside a connection that nobody reads', async (t) => {
  if (!requireRoot(t)) return;
  using spdy = await connectSpdy(await openUrl(), 'portforward.k8s.io');
  const deaf = forward(spdy, DEAF);
  deaf.data.write(Buffer.alloc(200_000));
  const source = forward(spdy, SOURCE);
  await source.data.ended();
  assert.equal(bytesOf(source.data), SOURCE_BYTES);
});

test('port forwarding reaches the host of a sandbox with the network of the node', async (t) => {
  if (!requireRoot(t)) return;
  const server = createServer((socket) => socket.end('from the host')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const namespaceOptions = { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } as const;
    const onHost = await shim.runSandbox('on-host', { linux: { securityContext: { namespaceOptions } } });
    const { url } = await shim.cri.runtime.portForward({ podSandboxId: onHost });
    using spdy = await connectSpdy(url, 'portforward.k8s.io');
    const { data } = forward(spdy, port);
    await data.ended();
    assert.equal(data.text, 'from the host');
    // The same port in a network of its own is another one.
    using other = await connectSpdy(await openUrl(), 'portforward.k8s.io');
    const { error } = forward(other, port);
    await error.ended();
    assert.match(error.text, /ECONNREFUSED/);
  } finally {
    server.close();
  }
});

for (const [name, ports, query] of [
  ['named in the request', [ECHO, 1], ''],
  ['named in the URL', [], `?ports=${ECHO},1`],
] as const) {
  test(`port forwarding over WebSocket channels, ports ${name}`, async (t) => {
    if (!requireRoot(t)) return;
    const url = `${await openUrl([...ports])}${query}`;
    const socket = new WebSocket(url.replace('http:', 'ws:'), 'v4.channel.k8s.io');
    const received = new Map<number, Buffer>();
    socket.on('message', (data: Buffer) => {
      const channel = data[0] ?? -1;
      received.set(channel, Buffer.concat([received.get(channel) ?? Buffer.alloc(0), data.subarray(1)]));
    });
    await once(socket, 'open');
    socket.send(Buffer.from('\0hello\n'));
    await waitFor(() => received.get(0)?.toString('latin1', 2) === 'hello\n' && (received.get(3)?.length ?? 0) > 2);
    assert.deepEqual(
      [0, 1].map((channel) => received.get(channel)?.readUInt16LE(0)),
      [ECHO, ECHO],
    );
    assert.deepEqual(
      [2, 3].map((channel) => received.get(channel)?.readUInt16LE(0)),
      [1, 1],
    );
    assert.match(received.get(3)?.toString('latin1', 2) ?? '', /ECONNREFUSED/);
    socket.terminate();
  });
}

test('ports that are not in the request are not forwarded', async (t) => {
  if (!requireRoot(t)) return;
  using spdy = await connectSpdy(await openUrl([SOURCE]), 'portforward.k8s.io');
  const { error } = forward(spdy, ECHO);
  await error.ended();
  assert.match(error.text, /not among those/);
  const socket = new WebSocket(`${await openUrl([SOURCE])}?port=${ECHO}`.replace('http:', 'ws:'), 'v4.channel.k8s.io');
  const [failure] = (await once(socket, 'error')) as [Error];
  assert.match(failure.message, /400/);
});

test('a client that leaves closes its connections inside the sandbox', async (t) => {
  if (!requireRoot(t)) return;
  const established = async (): Promise<number> =>
    (await shim.exec(containerId, 'netstat', '-tn')).split('\n').filter((line) => line.includes('ESTABLISHED')).length;
  await waitFor(async () => (await established()) === 0, { what: 'the end of earlier connections' });
  const spdy = await connectSpdy(await openUrl(), 'portforward.k8s.io');
  const { data } = forward(spdy, ECHO);
  data.write('x\n');
  await waitFor(() => data.text === 'x\n');
  assert.equal(await established(), 2);
  spdy[Symbol.dispose]();
  await waitFor(async () => (await established()) === 0, { what: 'the end of the connection' });
});

test('PortForward refuses a sandbox that is stopped and a port that is none', async (t) => {
  if (!requireRoot(t)) return;
  await assert.rejects(shim.cri.runtime.portForward({ podSandboxId, port: [70_000] }), /70000/);
  const stopped = await shim.runSandbox('stopped');
  await shim.cri.runtime.stopPodSandbox({ podSandboxId: stopped });
  await assert.rejects(shim.cri.runtime.portForward({ podSandboxId: stopped }), /not ready/);
});
