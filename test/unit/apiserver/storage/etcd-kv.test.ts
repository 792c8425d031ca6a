import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { askAnyMember } from '../../../../apiserver/storage/etcd-hosts.ts';
import { createEtcdKv, type EtcdKv } from '../../../../apiserver/storage/etcd-kv.ts';

const KEY = Buffer.from('key');
const EMPTY_MESSAGE = Buffer.alloc(5);

async function listen(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => void sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A member without data, which ends calls with this status and these words; `paths` are those it was asked for. */
async function startMember(t: TestContext, trailers: Record<string, string> = { 'grpc-status': '0' }) {
  const paths: string[] = [];
  const server = createHttp2Server().on('stream', (stream, headers) => {
    paths.push(String(headers[':path']));
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(trailers['grpc-status'] === '0' ? EMPTY_MESSAGE : undefined);
  });
  return { url: await listen(t, server as unknown as Server), paths };
}

async function startAbsentMember(t: TestContext): Promise<string> {
  const server = createServer();
  const url = await listen(t, server);
  server.close();
  return url;
}

function connectTo(t: TestContext, hosts: readonly string[]): EtcdKv {
  const keepAlive = { everyMs: 20, patienceMs: 100 };
  const kv = createEtcdKv({ hosts, timeoutMs: 60_000, keepAlive, policies: askAnyMember(hosts) });
  t.after(() => kv[Symbol.dispose]());
  return kv;
}

test('createEtcdKv() gives answers with all fields, 64-bit numbers as text', async (t) => {
  const { url, paths } = await startMember(t);
  const kv = connectTo(t, [url]);
  assert.deepEqual(await kv.range({ key: KEY }), { kvs: [], header: null, more: false, count: '0' });
  assert.deepEqual(paths, ['/etcdserverpb.KV/Range']);
});

test('createEtcdKv() rejects with the code and the words of the member, which is not asked twice', async (t) => {
  const { url, paths } = await startMember(t, { 'grpc-status': '8', 'grpc-message': 'etcdserver: no space' });
  const kv = connectTo(t, [url, url]);
  await assert.rejects(kv.put({ key: KEY, value: KEY }), { message: '8 RESOURCE_EXHAUSTED: etcdserver: no space' });
  assert.deepEqual(paths, ['/etcdserverpb.KV/Put']);
});

test('createEtcdKv() writes by way of another member where one is not there', async (t) => {
  const { url, paths } = await startMember(t);
  const kv = connectTo(t, [await startAbsentMember(t), url]);
  for (let round = 0; round < 8; round += 1) await kv.put({ key: KEY, value: KEY });
  assert.equal(paths.length, 8);
});

test('createEtcdKv() says that nothing was sent when no member is there', async (t) => {
  const kv = connectTo(t, [await startAbsentMember(t)]);
  await assert.rejects(
    kv.put({ key: KEY, value: KEY }),
    /^Error: 14 UNAVAILABLE: No connection established: .*ECONNREFUSED/,
  );
});

test('createEtcdKv() gives up a member that is gone without a word before the call has run out of time', async (t) => {
  const url = await listen(t, createServer());
  const kv = connectTo(t, [url]);
  await assert.rejects(
    kv.put({ key: KEY, value: KEY }),
    /^Error: 14 UNAVAILABLE: the peer has not answered for 100 ms/,
  );
});
