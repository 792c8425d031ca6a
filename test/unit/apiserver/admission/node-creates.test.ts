import assert from 'node:assert/strict';
import test from 'node:test';
import { checkNodeCreate } from '../../../../apiserver/admission/node-creates.ts';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';
import type { ReadOptions, ResourceStore } from '../../../../apiserver/storage/resource-store.ts';

const containers = [
  { metadata: { name: 'web-1', namespace: 'shop', uid: 'u1' }, spec: { nodeName: 'n1' } },
  { metadata: { name: 'web-2', namespace: 'shop', uid: 'u2' }, spec: { nodeName: 'n2' } },
] as unknown as StoredObject[];

/** Its memory is behind: what it holds is seen by a read that asks for the newest state only. */
const store = {
  list: async (_collection: unknown, { revision }: ReadOptions) => ({
    entries: revision === undefined ? containers.map((object) => ({ object })) : [],
    revision: 1,
  }),
  get: async (_collection: unknown, _namespace: string, name: string, { revision }: ReadOptions) => {
    const object = containers.find(({ metadata }) => metadata.name === name);
    return revision === undefined && object ? { object } : undefined;
  },
} as unknown as Pick<ResourceStore, 'get' | 'list'>;

/** What is wrong with node n1 making `object`. */
const refusal = (group: string, plural: string, object: object): Promise<string> =>
  checkNodeCreate(store, { group, plural } as Resource, object as StoredObject, {
    ...{ user: { name: 'system:node:n1', groups: ['system:nodes'] }, dryRun: false, now: 0 },
  }).then(
    () => 'may',
    (error: Error) => error.message,
  );

test('a node makes the Volumes behind anonymous mounts of its Containers, and none that a slot could be given', async () => {
  const make = (name: string, uid?: string): Promise<string> =>
    refusal('windlass.dev', 'volumes', {
      metadata: { name, namespace: 'shop', labels: uid === undefined ? {} : { 'windlass.dev/container-uid': uid } },
      spec: { nodeName: 'n1' },
    });
  assert.equal(await make('web-1-0123456789ab', 'u1'), 'may');
  for (const [name, uid] of [
    ['data-db-1', 'u1'],
    ['data-db-0123456789ab', 'u1'],
    ['web-2-0123456789ab', 'u2'],
    ['web-1-0123456789ab', undefined],
  ] as const) {
    assert.match(await make(name, uid), /may only make the Volumes behind anonymous mounts/, `${name} ${uid}`);
  }
});

test('a node reports as itself, about itself and what is bound to it', async () => {
  const report = (involvedObject: object, reportingInstance = 'n1'): Promise<string> =>
    refusal('', 'events', { metadata: { name: 'e' }, involvedObject, reportingInstance });
  const container = (name: string): object => ({ kind: 'Container', namespace: 'shop', name });
  assert.equal(await report(container('web-1')), 'may');
  assert.equal(await report(container('gone')), 'may');
  assert.equal(await report({ kind: 'Node', name: 'n1' }), 'may');
  assert.equal(await report({ kind: 'Image', namespace: 'shop', name: 'i' }), 'may');
  assert.match(await report(container('web-2')), /the Container "web-2" is not on node "n1"/);
  assert.match(await report(container('web-1'), 'n2'), /may only report as itself \(reportingInstance\)/);
  assert.match(await report({ kind: 'Node', name: 'n2' }), /it is about node "n2"/);
  assert.match(await report({ kind: 'Secret', namespace: 'shop', name: 's' }), /has nothing to say about a Secret/);
});
