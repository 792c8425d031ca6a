// Clients that send what no friend would: nothing, slowly, too much, or somebody else's certificate.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { createAuthority, issueCertificate } from '../../../lib/pki.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { waitFor } from '../../support/wait.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const PATIENCE = { bodyMs: 300, stallMs: 1_000 };

describe('hostile clients', () => {
  let api: TestApiserver;
  before(async () => {
    const exec = { group: '', version: 'v1', plural: 'pods', name: 'exec', verbs: ['create', 'get'] };
    const upgrade = () => Promise.reject(new Error('a stranger came through'));
    api = await startTestApiserver({
      patience: PATIENCE,
      prepare: (server) => server.addSubresource({ ...exec, upgrade }),
    });
  });
  after(() => api[Symbol.asyncDispose]());

  const openSession = (as?: { cert: string; key: string }): ClientHttp2Session => {
    const session = connectHttp2(api.url, { ca: api.ca, ...as });
    session.on('error', () => undefined);
    return session;
  };
  /** Sends `lines` as they are over HTTP/1.1 and answers all that comes back until the end. */
  const speak = async (lines: readonly string[], as?: { cert: string; key: string }): Promise<string> => {
    const { hostname, port } = new URL(api.url);
    const socket = connectTls({ host: hostname, port: Number(port), ca: api.ca, ...as });
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    await waitFor(() => socket.destroyed || socket.readableEnded, { what: 'the end of the connection' });
    socket.destroy();
    return text;
  };

  it('answers a stranger before reading the body', async () => {
    const session = openSession();
    for (const path of [MAPS, '/livez', '/nowhere']) {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' });
      stream.on('error', () => undefined);
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      assert.equal(headers[':status'], 401, path);
      stream.close();
    }
    session.destroy();
  });

  it('reads a body that comes without type and length, as kubectl create --raw sends it', async () => {
    const session = openSession(api.admin);
    const stream = session.request({ ':method': 'POST', ':path': MAPS });
    stream.on('error', () => undefined);
    stream.end(JSON.stringify({ metadata: { name: 'untyped' } }));
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    assert.equal(headers[':status'], 201);
    session.destroy();
  });

  it('gives up on a body that never ends, over HTTP/2 as over HTTP/1.1', async () => {
    const session = openSession(api.admin);
    const stream = session.request({ ':method': 'POST', ':path': MAPS, 'content-type': 'application/json' });
    stream.on('error', () => undefined);
    stream.write('{');
    await waitFor(() => stream.closed, { what: 'the request being given up' });
    session.destroy();
    const length = ['Content-Type: application/json', 'Content-Length: 1000', '', '{'];
    await speak([`POST ${MAPS} HTTP/1.1`, 'Host: x', ...length], api.admin);
  });

  it('cuts a watcher that does not read, and goes on serving the others', async () => {
    const from = (await api.request('GET', MAPS)).json<{ metadata: { resourceVersion: string } }>();
    const session = openSession(api.admin);
    const path = `${MAPS}?watch=true&resourceVersion=${from.metadata.resourceVersion}`;
    const stream = session.request({ ':path': path });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    const begin = performance.now();
    // Nothing listens for data: the windows of the stream fill up.
    const data = { a: 'x'.repeat(100_000) };
    for (let round = 0; round < 10; round += 1) {
      const made = await api.request('POST', MAPS, { body: { metadata: { generateName: 'big-' }, data } });
      assert.equal(made.status, 201);
    }
    await waitFor(() => stream.closed, { what: 'the watch being cut' });
    assert.ok(performance.now() - begin >= PATIENCE.stallMs, 'a watch may be quiet, and slow for a while');
    assert.equal(stream.rstCode, constants.NGHTTP2_INTERNAL_ERROR);
    session.destroy();
  });

  it('knows nobody by a certificate of another authority, or by one for servers', async () => {
    const now = Date.now();
    const other = await createAuthority('windlass test', 1, now);
    const request = { commonName: 'admin', organizations: ['system:masters'], days: 1, now } as const;
    const forged = await issueCertificate(other, { ...request, usage: 'client' });
    assert.equal((await api.request('GET', MAPS, { as: forged })).status, 401);
    const upgrade = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket'];
    const exec = '/api/v1/namespaces/default/pods/x/exec?command=sh';
    for (const as of [undefined, forged]) {
      assert.match(await speak([`GET ${exec} HTTP/1.1`, ...upgrade], as), /^HTTP\/1\.1 401 /);
      assert.match(await speak([`GET ${MAPS} HTTP/1.1`, ...upgrade], as), /^HTTP\/1\.1 401 /);
    }
    const node = await api.issue('system:node:n1', ['system:nodes']);
    assert.match(await speak([`GET ${exec} HTTP/1.1`, ...upgrade], node), /^HTTP\/1\.1 403 /);
  });

  it('answers an upgrade of what is no URL, and of what takes none', async () => {
    const upgrade = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket'];
    for (const target of ['//', 'http://[', `/%${MAPS}`]) {
      assert.match(await speak([`GET ${target} HTTP/1.1`, ...upgrade], api.admin), /^HTTP\/1\.1 40[04] /, target);
    }
    assert.match(await speak([`GET ${MAPS} HTTP/1.1`, ...upgrade], api.admin), /^HTTP\/1\.1 404 /);
  });

  it('counts made-up names as one series', async () => {
    const node = await api.issue('system:node:n1', ['system:nodes']);
    for (let round = 0; round < 5; round += 1) {
      for (const path of [`/apis/g${round}/v1/things`, `${MAPS}/x/sub${round}`, `${MAPS}?dryRun=d${round}`]) {
        await api.request('GET', path, { as: node });
      }
    }
    const metrics = (await api.request('GET', '/metrics')).text;
    assert.doesNotMatch(metrics, /"(g\d|sub\d|d\d)"/);
  });

  it('stops in time although a client never begins its handshake', async () => {
    const own = await startTestApiserver({ etcd: api.etcd });
    const { hostname, port } = new URL(own.url);
    const silent = connectTcp(Number(port), hostname);
    silent.on('error', () => undefined);
    await once(silent, 'connect');
    const begin = performance.now();
    await own[Symbol.asyncDispose]();
    assert.ok(performance.now() - begin < 5_000, 'the stop must not wait for the client');
    silent.destroy();
  });
});
