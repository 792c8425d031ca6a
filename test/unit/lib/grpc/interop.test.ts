// Our server and our client, each with the other end by @grpc/grpc-js: what kubelets, crictl and other runtimes speak.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, constants, createServer } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type Client,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { createCriClient } from '../../../../cri/client.ts';
import { createCriServer, type CriHandlers } from '../../../../cri/server.ts';
import { WindlassError } from '../../../../lib/errors.ts';

const definition = loadSync(fileURLToPath(new URL('../../../../cri/proto/runtime.proto', import.meta.url)), {
  ...{ keepCase: false, longs: Number, enums: String, defaults: true },
});
const { runtime } = loadPackageDefinition(definition) as unknown as {
  runtime: { v1: { RuntimeService: typeof Client & { service: never } } };
};
const { RuntimeService } = runtime.v1;

function makeSocket(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-grpc-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'cri.sock');
}

/** Our server with these handlers, and the library's client of it. */
async function serveOurs(t: TestContext, handlers: Partial<CriHandlers>) {
  const path = makeSocket(t);
  const server = createCriServer({ runtime: {}, images: {}, node: {}, ...handlers });
  await server.listen(path);
  const client = new RuntimeService(`unix:${path}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
  }) as unknown as Record<string, (...args: unknown[]) => never>;
  t.after(async () => {
    (client as unknown as Client).close();
    await server.close(0);
  });
  const call = (name: string, request: object, options: object = {}): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      client[name]?.(request, new Metadata(), options, (error: ServiceError | null, answer: never) =>
        error ? reject(error) : resolve(answer),
      );
    });
  return { path, client, call };
}

test('a strange client gets answers, errors with words of any script, and the end of a deadline', async (t) => {
  const { call } = await serveOurs(t, {
    runtime: {
      version: async ({ version }) => ({ version, runtimeName: 'windlass' }),
      stopContainer: async () => {
        throw new WindlassError('NotFound', 'container "müsli" 100 % gone');
      },
      startContainer: () => new Promise(() => undefined),
    },
  });
  assert.equal((await call('version', { version: 'v1' }))['runtimeName'], 'windlass');
  await assert.rejects(call('stopContainer', {}), {
    code: status.NOT_FOUND,
    details: 'container "müsli" 100 % gone',
  });
  await assert.rejects(call('status', {}), { code: status.UNIMPLEMENTED });
  // The handler heeds no signal: the answer comes all the same.
  await assert.rejects(call('startContainer', {}, { deadline: Date.now() + 100 }), { code: status.DEADLINE_EXCEEDED });
});

test('messages of megabytes pass both ways, in unary calls and in a stream that is read slowly', async (t) => {
  const id = 'x'.repeat(3 * 1024 * 1024);
  const { call, client } = await serveOurs(t, {
    runtime: {
      startContainer: async ({ containerId }) => {
        assert.equal(containerId, id);
        return {};
      },
      listContainers: async () => ({ containers: [{ id }, { id: 'last' }] }),
      async *streamContainers() {
        for (let index = 0; index < 5; index += 1) yield { containers: [{ id: `${index}${id}` }] };
      },
    },
  });
  await call('startContainer', { containerId: id });
  const { containers } = await call('listContainers', {});
  assert.deepEqual(
    (containers as { id: string }[]).map((item) => item.id.length),
    [id.length, 4],
  );
  const seen: string[] = [];
  const stream = client['streamContainers'] as unknown as (request: object) => AsyncIterable<{
    containers: { id: string }[];
  }>;
  for await (const message of stream.call(client, {})) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(message.containers[0]?.id.slice(0, 1) ?? '');
  }
  assert.deepEqual(seen, ['0', '1', '2', '3', '4']);
});

test('a client that leaves aborts the handler; requests that are no gRPC are refused by HTTP', async (t) => {
  const { promise: left, resolve } = Promise.withResolvers<void>();
  const { promise: began, resolve: begin } = Promise.withResolvers<void>();
  const { path, client } = await serveOurs(t, {
    runtime: {
      startContainer: async (_request, { signal }) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
        begin();
        await left;
        return {};
      },
    },
  });
  const call = client['startContainer']?.({}, () => undefined) as unknown as { cancel(): void };
  await began;
  call.cancel();
  await left;
  const session = connect('http://localhost', { createConnection: () => connectSocket(path) });
  t.after(() => session.destroy());
  const ask = (headers: Record<string, string>, body = Buffer.alloc(0)): Promise<Record<string, unknown>> =>
    new Promise((answer, reject) => {
      const stream = session.request(
        { ':path': '/runtime.v1.RuntimeService/Version', ...headers },
        { endStream: false },
      );
      stream.once('response', answer);
      stream.once('error', reject);
      stream.end(body);
    });
  const post = { ':method': 'POST', 'content-type': 'application/grpc' };
  assert.equal((await ask({ ':method': 'GET' }))[':status'], 405);
  assert.equal((await ask({ ...post, 'content-type': 'text/plain' }))[':status'], 415);
  assert.equal((await ask({ ...post, ':path': '/x.Y/Z' }))['grpc-status'], '12');
  // No message, two messages, a compressed one, one that would be larger than any.
  const empty = Buffer.alloc(5);
  for (const [body, code] of [
    [Buffer.alloc(0), '13'],
    [Buffer.concat([empty, empty]), '13'],
    [Buffer.of(1, 0, 0, 0, 0), '12'],
    [Buffer.of(0, 255, 255, 255, 255), '8'],
  ] as const) {
    assert.equal((await ask(post, body))['grpc-status'], code);
  }
});

test('our client speaks to a strange server, sees it leave and finds it again', async (t) => {
  const path = makeSocket(t);
  const id = 'y'.repeat(2 * 1024 * 1024);
  const open = async (): Promise<Server> => {
    const server = new Server({ 'grpc.max_receive_message_length': -1 });
    server.addService(RuntimeService.service, {
      version: (_call: unknown, answer: (error: null, message: object) => void) => answer(null, { version: id }),
      stopContainer: (_call: unknown, answer: (error: object) => void) =>
        answer({ code: status.NOT_FOUND, details: 'schön weg' }),
      startContainer: () => undefined,
      getContainerEvents: (call: { write(message: object): void; end(): void }) => {
        for (let index = 0; index < 3; index += 1) call.write({ containerId: `${index}` });
        call.end();
      },
    });
    await new Promise((resolve) => server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), resolve));
    return server;
  };
  const client = createCriClient({ socketPath: path });
  t.after(() => client[Symbol.dispose]());
  await assert.rejects(client.runtime.version({}), { reason: 'Unavailable' });
  const first = await open();
  assert.equal((await client.runtime.version({})).version, id);
  await assert.rejects(client.runtime.stopContainer({}), { reason: 'NotFound', message: 'schön weg' });
  await assert.rejects(client.runtime.status({}), { reason: 'Unimplemented' });
  await assert.rejects(client.runtime.startContainer({}, { timeoutMs: 50 }), { reason: 'Timeout' });
  const seen: string[] = [];
  for await (const { containerId } of client.runtime.getContainerEvents({})) seen.push(containerId);
  assert.deepEqual(seen, ['0', '1', '2']);
  const cut = assert.rejects(client.runtime.startContainer({ containerId: 'x' }), { reason: 'Unavailable' });
  await client.runtime.version({});
  first.forceShutdown();
  await cut;
  const second = await open();
  assert.equal((await client.runtime.version({})).version, id);
  second.forceShutdown();
});

test('a server that breaks off within a call is Unavailable, whether or not it had begun to answer', async (t) => {
  const path = makeSocket(t);
  const sockets: Socket[] = [];
  const server = createServer();
  server.on('connection', (socket) => sockets.push(socket));
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (headers[':path']?.endsWith('GetContainerEvents')) stream.respond({ ':status': 200 });
    // As when its process is killed.
    setImmediate(() => sockets.at(-1)?.destroy());
  });
  server.listen(path);
  const client = createCriClient({ socketPath: path });
  t.after(() => {
    client[Symbol.dispose]();
    server.close();
  });
  await assert.rejects(client.runtime.version({}), { reason: 'Unavailable' });
  const events = client.runtime.getContainerEvents({})[Symbol.asyncIterator]();
  await assert.rejects(events.next(), { reason: 'Unavailable' });
});

test('our client waits where a server takes few calls at a time', async (t) => {
  const path = makeSocket(t);
  const server = new Server({ 'grpc.max_concurrent_streams': 2 });
  server.addService(RuntimeService.service, {
    startContainer: (_call: unknown, answer: (error: null, message: object) => void) =>
      setImmediate(() => answer(null, {})),
  });
  await new Promise((resolve) => server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), resolve));
  const client = createCriClient({ socketPath: path });
  t.after(() => {
    client[Symbol.dispose]();
    server.forceShutdown();
  });
  // They are sent before the server has said how many it takes.
  const calls = Array.from({ length: 30 }, () => client.runtime.startContainer({ containerId: 'x' }));
  assert.deepEqual(await Promise.all(calls), Array(30).fill({}));
});

test('our client goes to another connection with what a server that leaves has not looked at', async (t) => {
  const path = makeSocket(t);
  const server = createServer();
  let sessions = 0;
  server.on('session', (session) => {
    sessions += 1;
    if (sessions === 1) session.goaway(constants.NGHTTP2_NO_ERROR);
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    if (sessions === 1) return;
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.alloc(5));
  });
  server.listen(path);
  const client = createCriClient({ socketPath: path });
  t.after(() => {
    client[Symbol.dispose]();
    server.close();
  });
  await Promise.all([client.runtime.version({}), client.runtime.status({})]);
  assert.equal(sessions, 2);
});

test('our client tries no more than four times, and never after an answer began', async (t) => {
  const path = makeSocket(t);
  const seen: string[] = [];
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const path = headers[':path'] ?? '';
    seen.push(path.slice(path.lastIndexOf('/') + 1));
    stream.on('error', () => undefined);
    if (path.endsWith('GetContainerEvents')) {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(Buffer.alloc(5));
      setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 20);
      return;
    }
    stream.close(path.endsWith('Version') ? constants.NGHTTP2_REFUSED_STREAM : constants.NGHTTP2_INTERNAL_ERROR);
  });
  server.listen(path);
  const client = createCriClient({ socketPath: path });
  t.after(() => {
    client[Symbol.dispose]();
    server.close();
  });
  await assert.rejects(client.runtime.version({}), { reason: 'Unavailable' });
  await assert.rejects(client.runtime.status({}), { reason: 'Internal' });
  const events = client.runtime.getContainerEvents({})[Symbol.asyncIterator]();
  assert.equal((await events.next()).done, false);
  await assert.rejects(events.next(), { reason: 'Unavailable' });
  assert.deepEqual(seen, ['Version', 'Version', 'Version', 'Version', 'Status', 'GetContainerEvents']);
});

test('a server that cancels by itself is Unavailable, one that compresses unasked is broken', async (t) => {
  const path = makeSocket(t);
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const type = { ':status': 200, 'content-type': 'application/grpc' };
    if (headers[':path']?.endsWith('Version')) {
      stream.respond({ ...type, 'grpc-status': String(status.CANCELLED) }, { endStream: true });
      return;
    }
    stream.on('error', () => undefined);
    stream.respond({ ...type, 'grpc-encoding': 'gzip' });
    stream.write(Buffer.of(1, 0, 0, 0, 1, 0));
  });
  server.listen(path);
  const client = createCriClient({ socketPath: path });
  t.after(() => {
    client[Symbol.dispose]();
    server.close();
  });
  await assert.rejects(client.runtime.version({}), { reason: 'Unavailable' });
  await assert.rejects(client.runtime.status({}), { reason: 'Internal', message: /compressed/ });
});

test('headers beyond the announced size end their call and nothing else', async (t) => {
  const { path } = await serveOurs(t, { runtime: { version: async () => ({ runtimeName: 'windlass' }) } });
  const session = connect('http://localhost', { createConnection: () => connectSocket(path) });
  t.after(() => session.destroy());
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  const limit = session.remoteSettings.maxHeaderListSize ?? 0;
  assert.equal(limit, 32 * 1024);
  const ask = (bytes: number): Promise<unknown> =>
    new Promise((resolve) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/runtime.v1.RuntimeService/Version',
        'content-type': 'application/grpc',
        ...Object.fromEntries(Array.from({ length: 4 }, (_, index) => [`x-fill-${index}`, 'm'.repeat(bytes / 4)])),
      });
      stream.on('error', () => undefined);
      stream.once('trailers', ({ 'grpc-status': code }) => resolve(code));
      stream.once('close', () => resolve(stream.rstCode));
      stream.resume();
      stream.end(Buffer.alloc(5));
    });
  assert.equal(await ask(limit - 1024), '0');
  assert.equal(await ask(limit + 1024), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  assert.equal(await ask(4), '0');
});
