import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { createApiClient } from '../../../client/api-client.ts';
import { listenOn } from '../../../lib/listen.ts';
import { leaseKind, nodeKind, type Lease, type Node } from '../../../crds/builtin.ts';
import { volumeKind } from '../../../crds/index.ts';
import { isAbort, isNotFound, reasonOf, type WindlassError } from '../../../lib/errors.ts';
import { Registry } from '../../../lib/metrics.ts';
import { reply, startFakeApiServer, status, type FakeApiServer } from './fake-api-server.ts';

const volume = (name: string, version = '1'): object => ({
  metadata: { name, namespace: 'default', resourceVersion: version },
  spec: {},
});

function setUp(server: FakeApiServer, registry?: Registry) {
  const api = createApiClient(server.connection, registry ? { registry } : {});
  return { api, volumes: api.kind(volumeKind), [Symbol.asyncDispose]: () => api.close() };
}

test('get() gives the object with its kind filled in, and undefined for one that is not there', async () => {
  await using server = await startFakeApiServer((request, response) =>
    request.url.endsWith('/a')
      ? reply(response, 200, volume('a'))
      : reply(response, 404, status(404, 'NotFound', 'no')),
  );
  await using client = setUp(server);
  assert.deepEqual(await client.volumes.get('a', 'default'), {
    apiVersion: 'windlass.dev/v1',
    kind: 'Volume',
    ...volume('a'),
  });
  assert.equal(await client.volumes.get('b', 'default'), undefined);
  assert.deepEqual(server.requests, [
    'GET /apis/windlass.dev/v1/namespaces/default/volumes/a',
    'GET /apis/windlass.dev/v1/namespaces/default/volumes/b',
  ]);
});

test('an answer that is no success carries the reason, message and causes of its Status', async () => {
  const body = {
    ...status(422, 'Invalid', 'Volume "a" is invalid'),
    details: { name: 'a', causes: [{ reason: 'FieldValueInvalid', message: 'bad', field: 'spec.driver' }] },
  };
  await using server = await startFakeApiServer((_, response) => reply(response, 422, body));
  await using client = setUp(server);
  await assert.rejects(client.volumes.get('a', 'default'), (error: WindlassError) => {
    assert.equal(error.reason, 'Invalid');
    assert.equal(error.message, 'Volume "a" is invalid');
    assert.deepEqual(error.details.causes, [{ reason: 'FieldValueInvalid', message: 'bad', field: 'spec.driver' }]);
    return true;
  });
});

test('answers without a Status get the reason of their code', async () => {
  const expected: [number, string][] = [
    [400, 'BadRequest'],
    [401, 'Unauthorized'],
    [403, 'Forbidden'],
    [409, 'Conflict'],
    [410, 'Expired'],
    [500, 'Internal'],
    [503, 'Unavailable'],
    [504, 'Timeout'],
  ];
  let code = 0;
  await using server = await startFakeApiServer((_, response) => reply(response, code, '<html>proxy</html>'));
  await using client = setUp(server);
  for (const [next, reason] of expected) {
    code = next;
    await assert.rejects(client.volumes.get('a', 'default'), { reason }, String(next));
  }
});

test('garbage with status 200 is Unavailable, for an object and for a list', async () => {
  await using server = await startFakeApiServer((_, response) => reply(response, 200, '{"items": ['));
  await using client = setUp(server);
  await assert.rejects(client.volumes.get('a', 'default'), { reason: 'Unavailable' });
  await assert.rejects(client.volumes.list(), { reason: 'Unavailable' });
  server.answer((_, response) => reply(response, 200, { hello: 1 }));
  await assert.rejects(client.volumes.list(), { reason: 'Unavailable' });
});

test('a server that is not there is Unavailable and names the address', async () => {
  const api = createApiClient({ server: 'http://127.0.0.1:1', namespace: 'default' });
  await assert.rejects(api.kind(nodeKind).get('a', undefined), (error: WindlassError) => {
    assert.equal(error.reason, 'Unavailable');
    assert.match(error.message, /127\.0\.0\.1:1 cannot be reached/);
    return true;
  });
  await api.close();
});

test('list() follows pages and passes selectors', async () => {
  await using server = await startFakeApiServer((request, response) => {
    const more = !request.url.includes('continue=');
    reply(response, 200, {
      metadata: { resourceVersion: '7', ...(more ? { continue: 'next' } : {}) },
      items: [volume(more ? 'a' : 'b')],
    });
  });
  await using client = setUp(server);
  const { items, resourceVersion } = await client.volumes.list({ namespace: 'x', labelSelector: 'a=b' });
  assert.deepEqual(
    items.map(({ metadata, kind }) => `${kind} ${metadata.name}`),
    ['Volume a', 'Volume b'],
  );
  assert.equal(resourceVersion, '7');
  assert.equal(
    server.requests[1],
    'GET /apis/windlass.dev/v1/namespaces/x/volumes?labelSelector=a%3Db&limit=500&continue=next',
  );
});

test('list() starts over without pages when the continue token expired', async () => {
  await using server = await startFakeApiServer((request, response) => {
    if (request.url.includes('continue=')) reply(response, 410, status(410, 'Expired', 'too old'));
    else if (request.url.includes('limit=')) {
      reply(response, 200, { metadata: { resourceVersion: '7', continue: 'next' }, items: [volume('a')] });
    } else reply(response, 200, { metadata: { resourceVersion: '9' }, items: [volume('a'), volume('b')] });
  });
  await using client = setUp(server);
  const { items, resourceVersion } = await client.volumes.list();
  assert.equal(items.length, 2);
  assert.equal(resourceVersion, '9');
});

test('writes send kind, body and content type; delete() resolves when the object is gone', async () => {
  const types: (string | undefined)[] = [];
  await using server = await startFakeApiServer((request, response) => {
    types.push(request.headers['content-type']);
    if (request.method === 'DELETE') reply(response, 404, status(404, 'NotFound', 'no'));
    else reply(response, 200, { metadata: { name: 'a', namespace: 'n' } });
  });
  await using client = setUp(server);
  const leases = client.api.kind<Lease>(leaseKind);
  const lease = await leases.create({ metadata: { name: 'a', namespace: 'n' }, spec: { holderIdentity: 'me' } });
  await leases.update(lease);
  await leases.updateStatus(lease);
  await leases.mergePatch('a', 'n', { spec: { holderIdentity: null } }, { subresource: 'status' });
  await leases.jsonPatch('a', 'n', [{ op: 'test', path: '/metadata/uid', value: 'u' }], { subresource: 'status' });
  await leases.delete('a', 'n', { uid: 'u', gracePeriodSeconds: 0, propagationPolicy: 'Foreground' });
  const base = '/apis/coordination.k8s.io/v1/namespaces/n/leases';
  assert.deepEqual(server.requests, [
    `POST ${base}?fieldManager=windlass`,
    `PUT ${base}/a?fieldManager=windlass`,
    `PUT ${base}/a/status?fieldManager=windlass`,
    `PATCH ${base}/a/status?fieldManager=windlass`,
    `PATCH ${base}/a/status?fieldManager=windlass`,
    `DELETE ${base}/a`,
  ]);
  assert.deepEqual(JSON.parse(server.bodies[0] ?? ''), {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'a', namespace: 'n' },
    spec: { holderIdentity: 'me' },
  });
  assert.deepEqual(JSON.parse(server.bodies[5] ?? ''), {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    propagationPolicy: 'Foreground',
    preconditions: { uid: 'u' },
  });
  assert.equal(types[3], 'application/merge-patch+json');
});

test('delete() leaves its connection to the next call', async () => {
  const ports = new Set<number | undefined>();
  await using server = await startFakeApiServer((request, response) => {
    ports.add(request.socket.remotePort);
    reply(response, 200, { metadata: { name: 'a', namespace: 'n' } });
  });
  const api = createApiClient(server.connection, { maxConnections: 1 });
  const volumes = api.kind(volumeKind);
  for (let round = 0; round < 3; round += 1) await volumes.delete('a', 'n', { propagationPolicy: 'Background' });
  await api.close();
  assert.equal(ports.size, 1);
});

test('names are escaped in the path, and a namespaced kind without namespace is refused', async () => {
  await using server = await startFakeApiServer((_, response) => reply(response, 404, status(404, 'NotFound', 'no')));
  await using client = setUp(server);
  await client.volumes.get('../nodes/x', 'default');
  assert.equal(server.requests[0], 'GET /apis/windlass.dev/v1/namespaces/default/volumes/..%2Fnodes%2Fx');
  await assert.rejects(client.volumes.get('a', undefined), { reason: 'BadRequest' });
  for (const name of ['', '.', '..'])
    await assert.rejects(client.volumes.get(name, 'default'), { reason: 'BadRequest' });
});

test('429 with Retry-After is asked again, without it is given to the caller', async () => {
  let asked = 0;
  await using server = await startFakeApiServer((_, response) => {
    asked += 1;
    if (asked === 1) reply(response, 429, status(429, 'TooManyRequests', 'busy'), { 'retry-after': '0.01' });
    else reply(response, 200, volume('a'));
  });
  await using client = setUp(server);
  assert.equal((await client.volumes.get('a', 'default'))?.metadata.name, 'a');
  server.answer((_, response) => reply(response, 429, status(429, 'TooManyRequests', 'busy')));
  await assert.rejects(client.volumes.get('a', 'default'), { reason: 'TooManyRequests' });
});

test('an aborted call rejects with AbortError, not with a fault of the server', async () => {
  await using server = await startFakeApiServer(() => {});
  await using client = setUp(server);
  const stop = new AbortController();
  const call = client.volumes.get('a', 'default', stop.signal);
  setImmediate(() => stop.abort());
  await assert.rejects(call, (error) => isAbort(error) && !isNotFound(error) && reasonOf(error) === undefined);
});

test('watch() gives events and bookmarks until the server closes, however the bytes are cut', async () => {
  const frames = [
    { type: 'ADDED', object: volume('ä', '2') },
    { type: 'MODIFIED', object: volume('ä', '3') },
    { type: 'BOOKMARK', object: { kind: 'Volume', metadata: { resourceVersion: '4' } } },
    { type: 'DELETED', object: volume('ä', '5') },
  ];
  const bytes = Buffer.from(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(''));
  await using server = await startFakeApiServer((_, response) => {
    const sendFrom = (offset: number): void => {
      if (offset >= bytes.length) response.end();
      else response.write(bytes.subarray(offset, offset + 50), () => setImmediate(() => sendFrom(offset + 50)));
    };
    sendFrom(0);
  });
  await using client = setUp(server);
  const seen: string[] = [];
  for await (const { type, object } of client.volumes.watch({ resourceVersion: '1' }, AbortSignal.timeout(5000))) {
    seen.push(`${type} ${object.metadata.name ?? ''} ${object.metadata.resourceVersion}`);
  }
  assert.deepEqual(seen, ['ADDED ä 2', 'MODIFIED ä 3', 'BOOKMARK  4', 'DELETED ä 5']);
  assert.match(server.requests[0] ?? '', /watch=true&allowWatchBookmarks=true&resourceVersion=1&timeoutSeconds=\d+$/);
});

test('watch() throws the reason of an ERROR frame, of a bad frame and of a cut stream', async () => {
  await using server = await startFakeApiServer((_, response) =>
    reply(response, 200, `${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired', 'too old') })}\n`),
  );
  await using client = setUp(server);
  const drain = async (): Promise<void> => {
    for await (const _ of client.volumes.watch({ resourceVersion: '1' }, AbortSignal.timeout(5000)));
  };
  await assert.rejects(drain(), { reason: 'Expired', message: 'too old' });
  for (const line of ['hello', '{"type":"ODD","object":{}}', 'null', '{"type":"ADDED"}']) {
    server.answer((_, response) => reply(response, 200, `${line}\n`));
    await assert.rejects(drain(), { reason: 'Unavailable' }, line);
  }
  server.answer((_, response) => {
    response.writeHead(200);
    response.write('{"type":"ADD', () => response.destroy());
  });
  await assert.rejects(drain(), { reason: 'Unavailable' });
  server.answer((_, response) => reply(response, 410, status(410, 'Expired', 'gone')));
  await assert.rejects(drain(), { reason: 'Expired' });
});

test('watch() on a quiet stream ends when its signal fires', async () => {
  const stop = new AbortController();
  await using server = await startFakeApiServer((_, response) => {
    response.writeHead(200);
    response.flushHeaders();
    setTimeout(() => stop.abort(), 20);
  });
  await using client = setUp(server);
  for await (const _ of client.volumes.watch({ resourceVersion: '1' }, stop.signal)) assert.fail('no event was sent');
});

test('requests are counted and timed by code, method and host, also those without an answer', async () => {
  const registry = new Registry();
  await using server = await startFakeApiServer((_, response) => reply(response, 200, volume('a')));
  await using client = setUp(server, registry);
  await client.volumes.get('a', 'default');
  server.answer((_, response) => response.destroy());
  await assert.rejects(client.volumes.delete('a', 'default'), { reason: 'Unavailable' });
  // A second client of the same process shares the series.
  const other = createApiClient(server.connection, { registry });
  await other.close();
  const text = await registry.metrics();
  const host = server.connection.server.slice('http://'.length);
  assert.ok(text.includes(`rest_client_requests_total{code="200",method="GET",host="${host}"} 1`), text);
  assert.ok(text.includes(`rest_client_requests_total{code="<error>",method="DELETE",host="${host}"} 1`));
  assert.ok(text.includes(`rest_client_request_duration_seconds_count{verb="GET",host="${host}"} 1`));
});

test('raw() gives status and body of any path', async () => {
  await using server = await startFakeApiServer((_, response) => reply(response, 503, 'not yet'));
  await using client = setUp(server);
  assert.deepEqual(await client.api.raw('/readyz'), { status: 503, body: 'not yet' });
  const nodes = client.api.kind<Node>(nodeKind);
  await assert.rejects(nodes.list(), { reason: 'Unavailable' });
});

test('a server that cannot be reached is left for the next one, also by writes, which nobody has heard', async () => {
  await using server = await startFakeApiServer((_, response) => reply(response, 200, volume('a')));
  const dead = 'http://127.0.0.1:1';
  const api = createApiClient({ ...server.connection, server: dead, otherServers: [server.connection.server] });
  try {
    await api.kind(volumeKind).create({ metadata: { name: 'a', namespace: 'default' }, spec: {} } as never);
    assert.equal((await api.kind(volumeKind).get('a', 'default'))?.metadata.name, 'a');
    assert.equal(server.requests.length, 2);
  } finally {
    await api.close();
  }
});

test('a server that has lost its store, or does not answer in time, is left for one that was learnt of', async () => {
  let isHanging = false;
  await using first = await startFakeApiServer((_, response) => {
    if (!isHanging) reply(response, 503, { kind: 'Status', reason: 'ServiceUnavailable', message: 'no store' });
  });
  await using second = await startFakeApiServer((_, response) => reply(response, 200, volume('a')));
  const api = createApiClient(first.connection);
  const get = (signal?: AbortSignal) => api.kind(volumeKind).get('a', 'default', signal);
  try {
    await assert.rejects(get(), /no store/);
    api.setServers([second.connection.server]);
    assert.equal((await get())?.metadata.name, 'a');
    assert.equal(first.requests.length, 2, 'it was not asked again');
    assert.equal((await get())?.metadata.name, 'a');
    assert.equal(first.requests.length, 2, 'it was asked again');
    api.setServers([]);
    isHanging = true;
    await assert.rejects(get(AbortSignal.timeout(200)), /was aborted/);
    api.setServers([second.connection.server]);
    await assert.rejects(get(AbortSignal.timeout(200)), /was aborted/);
    assert.equal((await get())?.metadata.name, 'a');
  } finally {
    await api.close();
  }
});

test('a write that the server may have heard is not made again elsewhere', async () => {
  await using first = await startFakeApiServer((request) => request.socket.destroy());
  await using second = await startFakeApiServer((_, response) => reply(response, 200, volume('a')));
  const api = createApiClient({ ...first.connection, otherServers: [second.connection.server] });
  const create = (): Promise<unknown> =>
    api.kind(volumeKind).create({ metadata: { name: 'a', namespace: 'default' }, spec: {} } as never);
  try {
    await assert.rejects(create(), (error) => reasonOf(error) === 'Unavailable');
    assert.deepEqual(second.requests, []);
    await create();
    assert.equal(second.requests.length, 1);
  } finally {
    await api.close();
  }
});

async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('requests that begin in one moment open their connections two at a time', async (t) => {
  // Patience has no end.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let open = 0;
  let most = 0;
  let all = 0;
  // Nobody answers a handshake here: each is given up as soon as the others could have come.
  const server = createServer((socket) => {
    all += 1;
    most = Math.max(most, (open += 1));
    socket.on('error', () => undefined).once('close', () => (open -= 1));
    void turns(50).then(() => socket.destroy());
  });
  const address = await listenOn(server, { host: '127.0.0.1', port: 0 });
  const api = createApiClient({ server: `https://${address}`, namespace: 'default' });
  t.after(async () => {
    await api.close();
    server.close();
  });
  const asked = await Promise.allSettled(Array.from({ length: 6 }, (_, index) => api.raw(`/readyz?${index}`)));
  assert.deepEqual(new Set(asked.map(({ status }) => status)), new Set(['rejected']));
  assert.ok(all >= 6);
  assert.ok(most <= 2, `${most} connections at the same time`);
});
