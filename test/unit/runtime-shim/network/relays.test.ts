import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '../../../../lib/log.ts';
import { orderForClient } from '../../../../runtime-shim/network/client-order.ts';
import type { ServiceBackend, ServicePort } from '../../../../runtime-shim/network/node-network.ts';
import { createRelays, untried } from '../../../../runtime-shim/network/relays.ts';
import { waitFor } from '../../../support/wait.ts';

const LOOPBACK = '127.0.0.1';
const backendAt = (port: number): ServiceBackend => ({
  id: `${LOOPBACK}:${port}`,
  ip: LOOPBACK,
  port,
  isRemote: false,
});

async function listen(t: TestContext, onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A port that refuses: somebody had it a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, LOOPBACK);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A relay in front of these ports, tried in order, and a client of it. */
async function setUp(t: TestContext, ...ports: readonly number[]) {
  return setUpWith(t, () => ports.map(backendAt));
}

async function setUpWith(t: TestContext, servingBackends: () => readonly ServiceBackend[]) {
  const relays = createRelays({ servingBackends, log: silentLogger() });
  t.after(() => relays.close());
  const port: ServicePort = {
    ...{ protocol: 'TCP', virtualIp: '', port: 0, publishedPort: 9090, sessionAffinity: false },
    ...{ clientAddress: 'ProxyProtocol', backends: [] },
  };
  await relays.sync([{ id: 'default/web', ports: [port] }]);
  const [listener = 0] = relays.ports.values();
  const open = (): Socket => connect({ host: LOOPBACK, port: listener, allowHalfOpen: true });
  return { relays, open };
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket) text += String(chunk);
  return text;
}

test('a relay tells the client in a header, and each direction ends by itself', async (t) => {
  const backend = await listen(t, (socket) => {
    void readAll(socket).then((text) => socket.end(`heard ${text}`));
  });
  const { open, relays } = await setUp(t, backend);
  const client = open();
  client.end('hello');
  await once(client, 'connect');
  const own = client.localPort;
  assert.equal(await readAll(client), `heard PROXY TCP4 127.0.0.1 127.0.0.1 ${own} 9090\r\nhello`);
  await waitFor(() => relays.counts().open === 0, { what: 'the end of the connection' });
  assert.deepEqual(relays.counts(), { open: 0, accepted: 1, refused: 0, failed: 0 });
});

test('a relay tries another backend when one refuses, and resets the client when all do', async (t) => {
  const works = await listen(t, (socket) => socket.end('here'));
  const [gone, away] = [await closedPort(), await closedPort()];
  const some = await setUp(t, gone, works);
  for (let count = 0; count < 5; count += 1) assert.equal(await readAll(some.open()), 'here');
  assert.equal(some.relays.counts().failed, 0);
  const none = await setUp(t, gone, away);
  await assert.rejects(readAll(none.open()), /ECONNRESET/);
  assert.equal(none.relays.counts().failed, 1);
});

test('a relay asks before each try who serves now', async (t) => {
  const works = await listen(t, (socket) => socket.end('here'));
  const gone = await closedPort();
  let asked = 0;
  const { open } = await setUpWith(t, () => [backendAt((asked += 1) === 1 ? gone : works)]);
  assert.equal(await readAll(open()), 'here');
  assert.equal(asked, 2);
});

test('untried() prefers other addresses to other backends of the same node', () => {
  const at = (id: string, ip: string): ServiceBackend => ({ id, ip, port: 80, isRemote: true });
  const [a, b, c] = [at('a', 'node1'), at('b', 'node1'), at('c', 'node2')] as const;
  assert.deepEqual(untried([a, b, c], []), [a, b, c]);
  assert.deepEqual(untried([a, b, c], [a]), [c]);
  assert.deepEqual(untried([a, b, c], [a, c]), [b]);
  assert.deepEqual(untried([a, b, c], [a, b, c]), []);
});

test('a relay passes a reset on, in both directions', async (t) => {
  const atBackend: { code?: string }[] = [];
  const backend = await listen(t, (socket) => {
    socket.on('error', (error) => atBackend.push(error as { code?: string }));
    socket.on('data', (chunk) => {
      if (chunk.toString().endsWith('break')) socket.resetAndDestroy();
    });
  });
  const { open, relays } = await setUp(t, backend);
  const broken = open();
  broken.write('break');
  await assert.rejects(readAll(broken), /ECONNRESET/);
  const leaving = open();
  leaving.write('hello');
  await waitFor(() => relays.counts().accepted === 2, { what: 'the second connection' });
  leaving.resetAndDestroy();
  await waitFor(() => atBackend.some(({ code }) => code === 'ECONNRESET'), { what: 'the reset at the backend' });
  await waitFor(() => relays.counts().open === 0, { what: 'the end of both' });
});

test('a relay reads no more than the other end takes, and loses nothing', async (t) => {
  const CHUNK = 1024 * 1024;
  const TOTAL = 48 * CHUNK;
  let [received, socketAtBackend] = [0, undefined as Socket | undefined];
  const backend = await listen(t, (socket) => {
    socketAtBackend = socket;
    socket.pause();
  });
  const { open } = await setUp(t, backend);
  const client = open();
  for (let sent = 0; sent < TOTAL; sent += CHUNK) client.write(Buffer.alloc(CHUNK));
  client.end();
  const atBackend = await waitFor(() => socketAtBackend, { what: 'the backend' });
  // Kernel buffers of three sockets fill up, and then nothing moves.
  let left = -1;
  await waitFor(
    async () => {
      const before = left;
      left = client.writableLength;
      return left === before;
    },
    { what: 'a standstill', intervalMs: 500, timeoutMs: 30_000 },
  );
  assert.ok(left > 0, `all of it is with the relay`);
  atBackend.on('data', (chunk: Buffer) => (received += chunk.length));
  atBackend.resume();
  await once(atBackend, 'end');
  const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} 9090\r\n`;
  assert.equal(received, header.length + TOTAL);
  atBackend.end();
  await readAll(client);
});

test('sync() keeps the listener of a port that stays, and closes that of one that went', async (t) => {
  const backend = await listen(t, (socket) => socket.end('here'));
  const { relays, open } = await setUp(t, backend);
  assert.deepEqual(
    [...relays.ports.keys()].map((chain) => chain.slice(0, 4)),
    ['svc-'],
  );
  await relays.sync([]);
  assert.equal(relays.ports.size, 0);
  await assert.rejects(readAll(open()), /ECONNREFUSED|ECONNRESET/);
});

test('orderForClient() is the same for one client always, and moves only those whose first choice goes', () => {
  const backends = [1, 2, 3, 4].map(backendAt);
  const first = (clientIp: string, from = backends): number | undefined => orderForClient(from, clientIp)[0]?.port;
  const clients = Array.from({ length: 400 }, (_, index) => `192.0.${index >> 8}.${index & 255}`);
  const counts = Map.groupBy(clients, (ip) => first(ip));
  for (const { port } of backends) assert.ok((counts.get(port)?.length ?? 0) > 50, JSON.stringify([...counts.keys()]));
  for (const ip of clients) {
    assert.equal(first(ip), first(ip, backends.toReversed()));
    if (first(ip) !== 2)
      assert.equal(
        first(ip),
        first(
          ip,
          backends.filter(({ port }) => port !== 2),
        ),
      );
  }
  assert.equal(orderForClient(backends, undefined).length, 4);
});
