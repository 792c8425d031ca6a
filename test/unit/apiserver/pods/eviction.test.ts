import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEvictionHandler } from '../../../../apiserver/pods/eviction-handler.ts';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';
import type { Change, Entry } from '../../../../apiserver/storage/resource-store.ts';
import type { Container } from '../../../../crds/container.ts';
import type { DisruptionBudget } from '../../../../crds/disruption-budget.ts';
import { makeBudget } from '../../../support/objects.ts';
import { makeResource } from '../resource.ts';

const user = { name: 'admin', groups: ['system:masters'] };
const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

function makeEntry(object: object): Entry {
  const stored = object as StoredObject;
  return {
    namespace: 'shop',
    name: stored.metadata.name,
    revision: Number(stored.metadata.resourceVersion),
    bytes: Buffer.from(JSON.stringify(object)),
    object: stored,
    clone: () => structuredClone(stored),
  };
}

/** A store of one Container, and of `budgets`; `changes` is what was decided about them. */
function openStore(finalizers: string[] = [], budgets: readonly object[] = []) {
  const container = makeEntry({
    apiVersion: 'windlass.dev/v1',
    kind: 'Container',
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', resourceVersion: '7', labels: { app: 'web' }, finalizers },
    spec: {},
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  });
  const changes: Change[] = [];
  return {
    changes,
    get: async (_collection: unknown, _namespace: string, name: string) => (name === 'web' ? container : undefined),
    list: async () => ({ entries: budgets.map(makeEntry), revision: 7 }),
    async guaranteedUpdate({ plural }: { plural: string }, _ns: string, _n: string, change: (entry: Entry) => Change) {
      const entry = plural === 'containers' ? container : makeEntry(budgets[0] as object);
      const decision = change(entry);
      changes.push(decision);
      return { kind: decision.kind, entry };
    },
  };
}

async function evict(
  store: ReturnType<typeof openStore>,
  {
    body,
    type = JSON_TYPE,
    query = '',
    name = 'web',
  }: { body: object | Buffer; type?: string; query?: string; name?: string },
) {
  const resource: Resource = makeResource();
  const handler = createEvictionHandler(store, { lookup: () => resource });
  return handler.handle?.({
    user,
    method: 'POST',
    namespace: 'shop',
    name,
    query: new URLSearchParams(query),
    headers: { 'content-type': type },
    body: Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body)),
    signal: new AbortController().signal,
  });
}

/** An Eviction as client-go writes it: `deleteOptions` is field 2, `dryRun` its field 5, `gracePeriodSeconds` its field 1. */
function protobufEviction(deleteOptions: number[]): Buffer {
  const field = (number: number, bytes: readonly number[]): number[] => [(number << 3) | 2, bytes.length, ...bytes];
  const text = (value: string): number[] => [...Buffer.from(value)];
  const typeMeta = [...field(1, text('policy/v1')), ...field(2, text('Eviction'))];
  const raw = [...field(1, field(1, text('web'))), ...field(2, deleteOptions)];
  return Buffer.from([0x6b, 0x38, 0x73, 0, ...field(1, typeMeta), ...field(2, raw)]);
}
const DRY_RUN_ALL = [(5 << 3) | 2, 3, ...Buffer.from('All')];
const GRACE_3 = [1 << 3, 3];

test('an eviction deletes the Container, with the grace period of its options', async () => {
  const store = openStore(['windlass.dev/node']);
  assert.equal(
    (await evict(store, { body: { kind: 'Eviction', deleteOptions: { gracePeriodSeconds: 5 } } }))?.status,
    201,
  );
  const [change] = store.changes;
  assert.equal(change?.kind === 'put' && change.object.metadata.deletionGracePeriodSeconds, 5);
  const bytes = protobufEviction(GRACE_3);
  assert.equal((await evict(store, { body: bytes, type: PROTOBUF_TYPE }))?.status, 201);
  const second = store.changes[1];
  assert.equal(second?.kind === 'put' && second.object.metadata.deletionGracePeriodSeconds, 3);
});

test('a dry run of an eviction deletes nothing, wherever it is asked for', async () => {
  const store = openStore();
  await evict(store, { body: { deleteOptions: { dryRun: ['All'] } } });
  await evict(store, { body: {}, query: 'dryRun=All' });
  await evict(store, { body: protobufEviction(DRY_RUN_ALL), type: PROTOBUF_TYPE });
  assert.deepEqual(store.changes, []);
  await assert.rejects(evict(store, { body: {}, query: 'dryRun=All', name: 'none' }), {
    message: 'pods "none" not found',
  });
});

test('an eviction keeps to its preconditions and its name', async () => {
  const store = openStore();
  const other = { deleteOptions: { preconditions: { uid: 'u2' } } };
  await assert.rejects(evict(store, { body: other }), { reason: 'Conflict' });
  await assert.rejects(evict(store, { body: { metadata: { name: 'api' } } }), /does not match the name on the URL/);
  await assert.rejects(evict(store, { body: { kind: 'Pod' } }), /not a policy\/v1 Eviction/);
  assert.deepEqual(store.changes, []);
});

test('an eviction spends one disruption of its budget before it deletes, and nothing in a dry run', async () => {
  const budget = makeBudget('web', {
    metadata: { namespace: 'shop' },
    status: { disruptionsAllowed: 1, currentHealthy: 3, desiredHealthy: 2 },
  });
  const store = openStore(['windlass.dev/node'], [budget]);
  await evict(store, { body: {}, query: 'dryRun=All' });
  assert.equal(store.changes.length, 0);
  await evict(store, { body: {} });
  const [spent, deleted] = store.changes;
  assert.ok(spent?.kind === 'put' && deleted?.kind === 'put');
  const { status } = spent.object as unknown as DisruptionBudget;
  assert.equal(status?.disruptionsAllowed, 0);
  assert.deepEqual(Object.keys(status?.disruptedPods ?? {}), ['web']);
  const { metadata, status: told } = deleted.object as unknown as Container;
  assert.ok(metadata.deletionTimestamp);
  assert.deepEqual(
    told?.conditions?.map(({ type, reason }) => [type, reason]),
    [
      ['Ready', undefined],
      ['DisruptionTarget', 'EvictionByEvictionAPI'],
    ],
  );
});

test('an eviction that a budget does not allow says which, how many it needs and how many there are', async () => {
  const budget = makeBudget('web', {
    metadata: { namespace: 'shop' },
    status: { disruptionsAllowed: 0, currentHealthy: 2, desiredHealthy: 2 },
  });
  const store = openStore([], [budget]);
  const refusal = {
    reason: 'TooManyRequests',
    message: "Cannot evict pod as it would violate the pod's disruption budget.",
    details: {
      retryAfterSeconds: 0,
      causes: [
        {
          reason: 'DisruptionBudget',
          message: 'The disruption budget web needs 2 healthy pods and has 2 currently',
        },
      ],
    },
  };
  await assert.rejects(evict(store, { body: {} }), refusal);
  assert.deepEqual(store.changes, []);
});
