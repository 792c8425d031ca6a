// The client against the real API server over a real etcd.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { collectionPath, createApiClient } from '../../../client/api-client.ts';
import type { ApiClient } from '../../../client/client.ts';
import { createEventRecorder } from '../../../client/events.ts';
import { createInformer } from '../../../client/informer.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { createLeaseRenewer, metricsLease } from '../../../client/lease.ts';
import { runAsLeader } from '../../../client/leader-election.ts';
import { eventKind, leaseKind, type Event, type Lease } from '../../../crds/builtin.ts';
import { volumeKind, VolumeSpec, type Volume } from '../../../crds/index.ts';
import { systemClock } from '../../../lib/clock.ts';
import { isAlreadyExists, isConflict, reasonOf } from '../../../lib/errors.ts';
import { silentLogger } from '../../../lib/log.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { waitFor } from '../../support/wait.ts';

let server: TestApiserver;
let client: ApiClient;

before(async () => {
  server = await startTestApiserver();
  client = createApiClient(readKubeconfig(server.kubeconfig));
});

after(async () => {
  await client?.close();
  await server?.[Symbol.asyncDispose]();
});

const volumes = () => client.kind(volumeKind);
const makeVolume = (name: string, spec: Partial<Volume['spec']> = {}) => ({
  metadata: { name, namespace: 'default' },
  spec: { ...VolumeSpec.parse({}), ...spec },
});

test('create, get, list, update, patch and delete an object of our own kind', async () => {
  const created = await volumes().create(makeVolume('verbs'));
  assert.equal(created.kind, 'Volume');
  assert.deepEqual(created.spec, { driver: 'local', reclaimPolicy: 'Delete' });
  await assert.rejects(volumes().create(makeVolume('verbs')), isAlreadyExists);

  const updated = await volumes().update({ ...created, spec: { ...created.spec, capacity: '1Gi' } });
  assert.equal(updated.metadata.generation, 2);
  await assert.rejects(volumes().update({ ...created, spec: { ...created.spec, capacity: '2Gi' } }), isConflict);

  const withStatus = await volumes().updateStatus({ ...updated, status: { phase: 'Bound' } });
  assert.equal(withStatus.status?.phase, 'Bound');
  assert.equal(withStatus.metadata.generation, 2);
  await volumes().mergePatch('verbs', 'default', { status: { usedBytes: 7 } }, { subresource: 'status' });
  const patched = await volumes().mergePatch('verbs', 'default', { metadata: { labels: { a: 'b' } } });
  assert.deepEqual(patched.status, { phase: 'Bound', usedBytes: 7 });

  const { items, resourceVersion } = await volumes().list({ labelSelector: 'a=b' });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    ['verbs'],
  );
  assert.match(resourceVersion, /^[1-9]\d*$/);

  const wrong = { uid: '00000000-0000-0000-0000-000000000000' };
  await assert.rejects(volumes().delete('verbs', 'default', wrong), isConflict);
  await volumes().delete('verbs', 'default', { uid: created.metadata.uid ?? '' });
  await volumes().delete('verbs', 'default');
  assert.equal(await volumes().get('verbs', 'default'), undefined);
});

test('what the server refuses names the field', async () => {
  await assert.rejects(volumes().create(makeVolume('bad', { hostPath: 'relative' })), (error: Error) => {
    assert.equal(reasonOf(error), 'Invalid');
    assert.match(error.message, /spec\.hostPath/);
    return true;
  });
});

test('an informer follows the server and its cache equals a list', async () => {
  await using informers = new AsyncDisposableStack();
  const stop = new AbortController();
  const informer = createInformer(volumes(), { log: silentLogger(), clock: systemClock });
  const running = informer.run(stop.signal);
  informers.defer(async () => {
    stop.abort();
    await running;
  });
  await informer.synced(AbortSignal.timeout(5000));
  await Promise.all(Array.from({ length: 30 }, (_, index) => volumes().create(makeVolume(`follow-${index}`))));
  await Promise.all(Array.from({ length: 10 }, (_, index) => volumes().delete(`follow-${index}`, 'default')));
  await volumes().mergePatch('follow-20', 'default', { metadata: { labels: { seen: 'yes' } } });
  const { items } = await volumes().list();
  const byName = (a: Volume, b: Volume): number => a.metadata.name.localeCompare(b.metadata.name);
  await waitFor(() => informer.get('default/follow-20')?.metadata.labels?.['seen'] === 'yes');
  assert.deepEqual(informer.list().toSorted(byName), items.toSorted(byName));
  assert.equal(items.filter(({ metadata }) => metadata.name.startsWith('follow-')).length, 20);
});

test('an informer ends at once when its signal fires on a quiet watch', async () => {
  const stop = new AbortController();
  const informer = createInformer(client.kind<Lease>(leaseKind), { log: silentLogger(), clock: systemClock });
  const running = informer.run(stop.signal);
  await informer.synced(AbortSignal.timeout(5000));
  const startedAt = Date.now();
  stop.abort();
  await running;
  assert.ok(Date.now() - startedAt < 500);
});

test('the same event again raises the count of the first', async () => {
  const recorder = createEventRecorder({ client, component: 'windlass-test', clock: systemClock, log: silentLogger() });
  const subject = { kind: volumeKind, metadata: { name: 'noted', namespace: 'default', uid: 'u-1' } };
  for (let times = 0; times < 3; times += 1) recorder.record(subject, 'Normal', 'Bound', 'volume is on node a');
  recorder.record(subject, 'Warning', 'Lost', 'node a is gone');
  await recorder.flush();
  const events = await client
    .kind<Event>(eventKind)
    .list({ namespace: 'default', fieldSelector: 'involvedObject.name=noted' });
  const seen = events.items.map(({ type, reason, count, source }) => ({
    type,
    reason,
    count,
    from: source?.component,
  }));
  assert.deepEqual(
    seen.toSorted((a, b) => String(a.reason).localeCompare(String(b.reason))),
    [
      { type: 'Normal', reason: 'Bound', count: 3, from: 'windlass-test' },
      { type: 'Warning', reason: 'Lost', count: 1, from: 'windlass-test' },
    ],
  );
});

test('a renewer makes its Lease with label and address and keeps it fresh', async () => {
  const stop = new AbortController();
  const lease = { ...metricsLease('test-part', '127.0.0.1:9', 'node-1'), leaseDurationSeconds: 1 };
  const running = createLeaseRenewer({ client, clock: systemClock, log: silentLogger() }, lease).run(stop.signal);
  const read = (): Promise<Lease | undefined> =>
    client.kind<Lease>(leaseKind).get('test-part-node-1', 'windlass-system');
  const first = await waitFor(read);
  assert.equal(first.metadata.labels?.['windlass.dev/component'], 'test-part');
  assert.equal(first.metadata.annotations?.['windlass.dev/metrics-address'], '127.0.0.1:9');
  await waitFor(async () => (await read())?.spec?.renewTime !== first.spec?.renewTime);
  stop.abort();
  await running;
});

test('one leads, the next takes over at once when the first stops', async () => {
  const order: string[] = [];
  const start = (identity: string): { stop(): Promise<void> } => {
    const stop = new AbortController();
    const running = runAsLeader(
      {
        client,
        clock: systemClock,
        log: silentLogger(),
        namespace: 'windlass-system',
        name: 'election',
        identity,
        retryMs: 50,
      },
      async (signal) => {
        order.push(`${identity} leads`);
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        order.push(`${identity} stops`);
      },
      stop.signal,
    );
    return {
      async stop() {
        stop.abort();
        await running;
      },
    };
  };
  const first = start('a');
  await waitFor(() => order.length === 1);
  const second = start('b');
  await first.stop();
  await waitFor(() => order.length === 3);
  await second.stop();
  assert.deepEqual(order, ['a leads', 'a stops', 'b leads', 'b stops']);
  const lease = await client.kind<Lease>(leaseKind).get('election', 'windlass-system');
  assert.equal(lease?.spec?.leaseTransitions, 1);
  assert.equal(lease?.spec?.holderIdentity, '');
});

test('raw() reads what is no kind, and paths are those of the server', async () => {
  assert.equal((await client.raw('/readyz')).status, 200);
  assert.equal((await client.raw(collectionPath(volumeKind, 'default'))).status, 200);
});

test('an informer survives an etcd that is killed and comes back', async () => {
  await using cleanup = new AsyncDisposableStack();
  const own = cleanup.use(await startTestApiserver());
  const api = createApiClient(readKubeconfig(own.kubeconfig));
  cleanup.defer(() => api.close());
  const stop = new AbortController();
  const backoff = { initialMs: 10, maxMs: 100 };
  const informer = createInformer(api.kind(volumeKind), { log: silentLogger(), clock: systemClock, backoff });
  const running = informer.run(stop.signal);
  cleanup.defer(async () => {
    stop.abort();
    await running;
  });
  await api.kind(volumeKind).create(makeVolume('before'));
  await waitFor(() => informer.get('default/before'));
  await own.etcd.kill();
  await assert.rejects(api.kind(volumeKind).create(makeVolume('during'), AbortSignal.timeout(500)));
  assert.ok(informer.get('default/before'), 'the cache is older, not empty');
  await own.etcd.start();
  const create = (): Promise<boolean> =>
    api
      .kind(volumeKind)
      .create(makeVolume('after'), AbortSignal.timeout(2000))
      .then(
        () => true,
        (error: unknown) => isAlreadyExists(error),
      );
  await waitFor(create, { timeoutMs: 20_000 });
  await waitFor(() => informer.get('default/after'), { timeoutMs: 20_000 });
});
