import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEvictionHandler } from '../../../../apiserver/pods/eviction-handler.ts';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';
import type { Change, Entry } from '../../../../apiserver/storage/resource-store.ts';
import { makeResource } from '../resource.ts';

const user = { name: 'admin', groups: ['system:masters'] };
const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

/** A store of one Container; `changes` is what was decided about it. */
function openStore(finalizers: string[] = []) {
  const object = {
    apiVersion: 'windlass.dev/v1',
    kind: 'Container',
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', resourceVersion: '7', finalizers },
    spec: {},
  } as unknown as StoredObject;
  const bytes = Buffer.from(JSON.stringify(object));
  const entry: Entry = {
    namespace: 'shop',
    name: 'web',
    revision: 7,
    bytes,
    object,
    clone: () => structuredClone(object),
  };
  const changes: Change[] = [];
  return {
    changes,
    get: async (_collection: unknown, _namespace: string, name: string) => (name === 'web' ? entry : undefined),
    async guaranteedUpdate(_c: unknown, _ns: string, _name: string, change: (entry: Entry) => Change) {
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
