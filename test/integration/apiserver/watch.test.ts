import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createEtcdClient } from '../../../apiserver/storage/etcd-client.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { waitFor } from '../../support/wait.ts';
import { openWatch, type Frame } from '../../support/watch-stream.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const MERGE = { 'content-type': 'application/merge-patch+json' };
const shape = (frames: readonly Frame[]) => frames.map(({ type, object }) => [type, object.metadata?.name]);

describe('watch', () => {
  let api: TestApiserver;
  before(async () => {
    api = await startTestApiserver();
  });
  after(() => api[Symbol.asyncDispose]());
  const make = (name: string, labels: Record<string, string> = {}) =>
    api.request('POST', MAPS, { body: { metadata: { name, labels } } });
  const version = async (): Promise<string> =>
    (await api.request('GET', MAPS)).json<{ metadata: { resourceVersion: string } }>().metadata.resourceVersion;

  it('delivers what happens after the version of a list', async () => {
    const from = await version();
    await make('w1');
    const watch = await openWatch(api, `${MAPS}?watch=true&resourceVersion=${from}`);
    await api.request('PATCH', `${MAPS}/w1`, { body: { data: { a: '1' } }, headers: MERGE });
    await api.request('DELETE', `${MAPS}/w1`);
    assert.deepEqual(shape(await watch.until(3)), [
      ['ADDED', 'w1'],
      ['MODIFIED', 'w1'],
      ['DELETED', 'w1'],
    ]);
    const [, modified, deleted] = watch.frames;
    assert.ok(Number(deleted?.object.metadata?.resourceVersion) > Number(modified?.object.metadata?.resourceVersion));
    watch.close();
  });

  it('shows an object that enters a selector as ADDED and one that leaves it as DELETED', async () => {
    const from = await version();
    const watch = await openWatch(api, `${MAPS}?watch=1&resourceVersion=${from}&labelSelector=on%3Dyes`);
    await make('s1');
    await api.request('PATCH', `${MAPS}/s1`, { body: { metadata: { labels: { on: 'yes' } } }, headers: MERGE });
    await api.request('PATCH', `${MAPS}/s1`, { body: { data: { a: '1' } }, headers: MERGE });
    await api.request('PATCH', `${MAPS}/s1`, { body: { metadata: { labels: { on: null } } }, headers: MERGE });
    assert.deepEqual(shape(await watch.until(3)), [
      ['ADDED', 's1'],
      ['MODIFIED', 's1'],
      ['DELETED', 's1'],
    ]);
    watch.close();
  });

  it('serves the Containers of one node by a field selector, and to other nodes what they have to know', async () => {
    const containers = '/apis/windlass.dev/v1/namespaces/default/containers';
    const endpoints = '/apis/windlass.dev/v1/containerendpoints';
    const names = async (path: string): Promise<string[]> =>
      (await api.request('GET', path))
        .json<{ items: Frame['object'][] }>()
        .items.map(({ metadata }) => metadata?.name ?? '');
    const patch = (fields: object, subresource = '') =>
      api.request('PATCH', `${containers}/c1${subresource}`, { body: fields, headers: MERGE });
    const mine = await openWatch(api, `${containers}?watch=1&fieldSelector=spec.nodeName%3Da`);
    const others = await openWatch(api, `${containers}?watch=1&fieldSelector=spec.nodeName%3Db`);
    const seen = await openWatch(api, `${endpoints}?watch=1&fieldSelector=spec.nodeName!%3Db`);
    const seenThere = await openWatch(api, `${endpoints}?watch=1&fieldSelector=spec.nodeName!%3Da`);
    await api.request('POST', containers, { body: { metadata: { name: 'c1' }, spec: { image: 'x' } } });
    await patch({ spec: { nodeName: 'a' } });
    const networks = [{ name: 'default', ipv4Address: '10.0.0.2' }];
    await patch({ status: { phase: 'Running', networks, restartCount: 0 } }, '/status');
    await patch({ status: { restartCount: 1 } }, '/status');
    await patch({ status: { phase: 'Failed' } }, '/status');
    await api.request('DELETE', `${containers}/c1`);
    assert.deepEqual(shape(await mine.until(5)), [
      ['ADDED', 'c1'],
      ['MODIFIED', 'c1'],
      ['MODIFIED', 'c1'],
      ['MODIFIED', 'c1'],
      ['DELETED', 'c1'],
    ]);
    // A count is nothing that other nodes look at.
    assert.deepEqual(shape(await seen.until(2)), [
      ['ADDED', 'c1'],
      ['DELETED', 'c1'],
    ]);
    const [added] = seen.frames;
    assert.deepEqual(added?.object['status'], { phase: 'Running', networks, conditions: [] });
    // One that passes the selectors of the others comes after whatever they could have been sent before.
    const body = { metadata: { name: 'c2' }, spec: { image: 'x', nodeName: 'b' } };
    await api.request('POST', containers, { body });
    await api.request('PATCH', `${containers}/c2/status`, {
      body: { status: { phase: 'Running', networks } },
      headers: MERGE,
    });
    assert.deepEqual(shape(await others.until(2)), [
      ['ADDED', 'c2'],
      ['MODIFIED', 'c2'],
    ]);
    assert.deepEqual(shape(await seenThere.until(1)), [['ADDED', 'c2']]);
    assert.deepEqual(await names(endpoints), ['c2']);
    for (const watch of [mine, others, seen, seenThere]) watch.close();
  });

  it('serves nodes what they have to know of Services, and nothing of what is counted', async () => {
    const services = '/apis/windlass.dev/v1/namespaces/default/services';
    const frontends = '/apis/windlass.dev/v1/namespaces/default/servicefrontends';
    const patch = (fields: object, subresource = '') =>
      api.request('PATCH', `${services}/web${subresource}`, { body: fields, headers: MERGE });
    const seen = await openWatch(api, `${frontends}?watch=1`);
    const spec = { template: { spec: { image: 'x', networks: [{ name: 'n' }] } } };
    await api.request('POST', services, { body: { metadata: { name: 'web' }, spec } });
    const condition = { reason: 'X', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const ready = (status: string, message: string) => ({
      conditions: [{ type: 'Ready', status, message, ...condition }],
    });
    await patch({ status: { replicas: 3, ...ready('False', '0 of 3 Ready') } }, '/status');
    await patch({ status: { replicas: 3, readyReplicas: 1, ...ready('False', '1 of 3 Ready') } }, '/status');
    await patch({ status: { readyReplicas: 2, ...ready('False', '2 of 3 Ready') } }, '/status');
    await patch({ metadata: { annotations: { note: 'x' } }, spec: { replicas: 3 } });
    await patch({ status: { readyReplicas: 3, ...ready('True', '3 of 3 Ready') } }, '/status');
    await api.request('DELETE', `${services}/web`);
    const frames = await seen.until(5);
    assert.deepEqual(
      frames.map(({ type, object }) => [type, object['status']]),
      [
        ['ADDED', { isServing: false, conditions: [] }],
        ['MODIFIED', { isServing: false, conditions: [{ type: 'Ready', status: 'False' }] }],
        ['MODIFIED', { isServing: true, conditions: [{ type: 'Ready', status: 'False' }] }],
        ['MODIFIED', { isServing: true, conditions: [{ type: 'Ready', status: 'True' }] }],
        ['DELETED', { isServing: true, conditions: [{ type: 'Ready', status: 'True' }] }],
      ],
    );
    const shown = frames[0]?.object['spec'] as { template: object };
    assert.deepEqual(shown.template, { spec: { networks: [{ name: 'n' }], hostNetwork: false } });
    assert.equal((await api.request('POST', frontends, { body: {} })).status, 405);
    seen.close();
  });

  it('begins with the present objects when no version is given', async () => {
    await make('present');
    const watch = await openWatch(api, `${MAPS}?watch=true&fieldSelector=metadata.name%3Dpresent`);
    assert.deepEqual(shape(await watch.until(1)), [['ADDED', 'present']]);
    watch.close();
  });

  it('marks the end of the initial events', async () => {
    await make('initial', { part: 'initial' });
    const query =
      'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=part%3Dinitial';
    const watch = await openWatch(api, `${MAPS}?${query}`);
    const frames = await watch.until(2);
    assert.deepEqual(
      frames.map((frame) => frame.type),
      ['ADDED', 'BOOKMARK'],
    );
    assert.equal(frames[1]?.object.metadata?.annotations?.['k8s.io/initial-events-end'], 'true');
    assert.equal(frames[1]?.object.kind, 'ConfigMap');
    watch.close();
    const refused = await api.request('GET', `${MAPS}?watch=true&sendInitialEvents=true`);
    assert.equal(refused.status, 422);
  });

  it('ends in time, with a bookmark when asked', async () => {
    const from = await version();
    const watch = await openWatch(
      api,
      `${MAPS}?watch=true&resourceVersion=${from}&timeoutSeconds=1&allowWatchBookmarks=true`,
    );
    await waitFor(() => watch.ended, { what: 'the end of the watch' });
    assert.deepEqual(
      watch.frames.map((frame) => frame.type),
      ['BOOKMARK'],
    );
    assert.ok(Number(watch.frames[0]?.object.metadata?.resourceVersion) >= Number(from));
  });

  it('refuses a version that is no number', async () => {
    assert.equal((await api.request('GET', `${MAPS}?watch=true&resourceVersion=abc`)).status, 400);
  });

  it('begins with no objects when the client wants none of the present', async () => {
    await make('unwanted');
    const query = 'watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan';
    const watch = await openWatch(api, `${MAPS}?${query}`);
    await make('wanted');
    assert.deepEqual(shape(await watch.until(1)), [['ADDED', 'wanted']]);
    watch.close();
  });

  it('ends a watch from a version that is forgotten with one ERROR of code 410', async () => {
    await make('before');
    // A server that starts now knows nothing of what was before.
    await using late = await startTestApiserver({ etcd: api.etcd });
    const watch = await openWatch(late, `${MAPS}?watch=true&resourceVersion=1&allowWatchBookmarks=true`);
    await waitFor(() => watch.ended, { what: 'the end of the watch' });
    const [{ type, object } = { type: '', object: {} }, ...more] = watch.frames;
    const { kind, status, reason, code, message } = object as Record<string, unknown>;
    assert.deepEqual([type, kind, status, reason, code, more], ['ERROR', 'Status', 'Failure', 'Expired', 410, []]);
    assert.match(String(message), /^too old resource version: 1 \(\d+\)$/);
  });

  it('answers lists of a compacted version with 410, and gives a page reader a token to go on', async () => {
    await make('page-1');
    await make('page-2');
    const first = (await api.request('GET', `${MAPS}?limit=1`)).json<{ metadata: Record<string, string> }>().metadata;
    await make('page-3');
    const newest = await version();
    const client = createEtcdClient([api.etcd.url]);
    await client.kv.compact({ revision: newest, physical: true });
    client.close();
    const old = await api.request(
      'GET',
      `${MAPS}?resourceVersion=${first['resourceVersion']}&resourceVersionMatch=Exact`,
    );
    assert.deepEqual(
      [old.status, old.json()['reason'], old.json()['message']],
      [410, 'Expired', 'The resourceVersion for the provided list is too old.'],
    );
    const next = await api.request('GET', `${MAPS}?limit=1&continue=${first['continue']}`);
    assert.deepEqual([next.status, next.json()['reason']], [410, 'Expired']);
    const token = next.json<{ metadata: { continue: string } }>().metadata.continue;
    const rest = await api.request('GET', `${MAPS}?limit=500&continue=${token}`);
    assert.equal(rest.status, 200, rest.text);
    assert.match(rest.text, /page-3/);
  });

  it('sends rows of a Table, with the columns in the first frame only', async () => {
    const from = await version();
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const watch = await openWatch(api, `${MAPS}?watch=true&resourceVersion=${from}`, { accept });
    await make('t1');
    await make('t2');
    const frames = await watch.until(2);
    assert.deepEqual(
      frames.map((frame) => frame.object.kind),
      ['Table', 'Table'],
    );
    assert.ok(Array.isArray(frames[0]?.object['columnDefinitions']));
    assert.equal(frames[1]?.object['columnDefinitions'], null);
    watch.close();
  });

  it('sees events of events.k8s.io in both of their forms', async () => {
    const from = await version();
    const core = await openWatch(api, `/api/v1/namespaces/default/events?watch=true&resourceVersion=${from}`);
    const modern = await openWatch(
      api,
      `/apis/events.k8s.io/v1/namespaces/default/events?watch=true&resourceVersion=${from}`,
    );
    const body = {
      metadata: { generateName: 'e-' },
      regarding: { kind: 'Node', name: 'n', namespace: 'default' },
      note: 'hello',
      reason: 'Test',
      type: 'Normal',
      action: 'Testing',
      eventTime: '2026-11-23T00:00:00.000000Z',
      reportingController: 'test',
      reportingInstance: 'test-1',
    };
    const made = await api.request('POST', '/apis/events.k8s.io/v1/namespaces/default/events', { body });
    assert.equal(made.status, 201, made.text);
    const [coreFrame] = await core.until(1);
    const [modernFrame] = await modern.until(1);
    assert.equal(coreFrame?.object['message'], 'hello');
    assert.equal(modernFrame?.object['note'], 'hello');
    core.close();
    modern.close();
  });

  it('serves a hundred watchers from one stream of the store', async () => {
    const from = await version();
    const watches = await Promise.all(
      Array.from({ length: 100 }, () => openWatch(api, `${MAPS}?watch=true&resourceVersion=${from}`)),
    );
    await make('fan-out');
    await Promise.all(watches.map((watch) => watch.until(1)));
    for (const watch of watches) watch.close();
  });
});
