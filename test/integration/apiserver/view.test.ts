// The extension points that apiserver/pods builds on: a view of stored objects, and subresources with streams.
import assert from 'node:assert/strict';
import { request } from 'node:https';
import { after, before, describe, it } from 'node:test';
import type { StoredObject } from '../../../apiserver/resources/resource.ts';
import { defineBuiltin, OPEN_SCHEMA } from '../../../apiserver/resources/builtin/define.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { openWatch } from '../../support/watch-stream.ts';

const CONTAINERS = '/apis/windlass.dev/v1/namespaces/default/containers';
const PODS = '/api/v1/namespaces/default/pods';

const podView = defineBuiltin({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  namespaced: true,
  schema: OPEN_SCHEMA,
  verbs: ['get', 'list', 'watch', 'delete'],
  stored: { group: 'windlass.dev', plural: 'containers' },
  fromStored: (object): StoredObject => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: object.metadata,
    spec: { nodeName: (object['spec'] as { nodeName?: string }).nodeName },
  }),
  selectableFieldNames: ['spec.nodeName'],
  selectableFields: (object) => ({ 'spec.nodeName': (object['spec'] as { nodeName?: string }).nodeName ?? '' }),
});

describe('views and subresources', () => {
  let api: TestApiserver;
  before(async () => {
    api = await startTestApiserver({
      prepare(server) {
        server.registry.set('pods', [podView]);
        server.addSubresource({
          group: '',
          version: 'v1',
          plural: 'pods',
          name: 'log',
          verbs: ['get'],
          async handle({ name, query }) {
            if (name === 'none') throw new WindlassError('NotFound', 'pods "none" not found');
            async function* lines() {
              yield `${name} `;
              yield `${query.get('tailLines')}\n`;
            }
            return { status: 200, contentType: 'text/plain', body: lines() };
          },
        });
        server.addSubresource({
          group: '',
          version: 'v1',
          plural: 'pods',
          name: 'exec',
          verbs: ['create', 'get'],
          async upgrade({ name }, _message, socket) {
            if (name === 'none') throw new WindlassError('NotFound', 'pods "none" not found');
            socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
            socket.pipe(socket);
          },
        });
      },
    });
    const body = { metadata: { name: 'web' }, spec: { image: 'busybox', nodeName: 'n1' } };
    assert.equal((await api.request('POST', CONTAINERS, { body })).status, 201);
  });
  after(() => api[Symbol.asyncDispose]());

  it('shows stored objects in another form for get, list and watch', async () => {
    const pod = (await api.request('GET', `${PODS}/web`)).json<{
      kind: string;
      metadata: { resourceVersion: string };
    }>();
    assert.equal(pod.kind, 'Pod');
    const list = await api.request('GET', `${PODS}?fieldSelector=spec.nodeName%3Dn1`);
    assert.equal(list.json<{ items: unknown[] }>().items.length, 1);
    assert.equal(
      (await api.request('GET', `${PODS}?fieldSelector=spec.nodeName%3Dn2`)).json<{ items: unknown[] }>().items.length,
      0,
    );
    const watch = await openWatch(api, `${PODS}?watch=true`);
    assert.equal((await watch.until(1))[0]?.object.kind, 'Pod');
    watch.close();
    assert.match((await api.request('GET', `${PODS}/none`)).text, /pods \\"none\\" not found/);
  });

  it('refuses to write a view but deletes what it shows', async () => {
    assert.equal((await api.request('POST', PODS, { body: { metadata: { name: 'x' } } })).status, 405);
    assert.equal(
      (await api.request('POST', CONTAINERS, { body: { metadata: { name: 'gone' }, spec: { image: 'a' } } })).status,
      201,
    );
    assert.equal((await api.request('DELETE', `${PODS}/gone`)).status, 200);
    assert.equal((await api.request('GET', `${CONTAINERS}/gone`)).status, 404);
  });

  it('streams the answer of a subresource', async () => {
    const log = await api.request('GET', `${PODS}/web/log?tailLines=5`);
    assert.deepEqual([log.status, log.headers['content-type'], log.text], [200, 'text/plain', 'web 5\n']);
    assert.equal((await api.request('GET', `${PODS}/none/log`)).status, 404);
    assert.equal((await api.request('POST', `${PODS}/web/log`)).status, 405);
  });

  const upgrade = (path: string, admin: boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      const credentials = admin ? { cert: api.admin.cert, key: api.admin.key } : {};
      const headers = { connection: 'Upgrade', upgrade: 'echo' };
      const outgoing = request(api.url + path, { ca: api.ca, headers, ...credentials });
      outgoing.on('upgrade', (_response, socket) => {
        socket.write('hello');
        socket.once('data', (data: Buffer) => {
          resolve(data.toString());
          socket.destroy();
        });
      });
      outgoing.on('response', (response) => resolve(String(response.statusCode)));
      outgoing.on('error', reject);
      outgoing.end();
    });

  it('hands an upgraded connection to the subresource, or answers a Status', async () => {
    assert.equal(await upgrade(`${PODS}/web/exec?command=sh`, true), 'hello');
    assert.equal(await upgrade(`${PODS}/none/exec`, true), '404');
    assert.equal(await upgrade(`${PODS}/web/exec`, false), '401');
    assert.equal(await upgrade(`${PODS}/web/nothing`, true), '404');
  });
});
