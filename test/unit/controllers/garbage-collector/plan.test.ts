import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createGraph,
  FOREGROUND_FINALIZER,
  ORPHAN_FINALIZER,
} from '../../../../controllers/garbage-collector/graph.ts';
import { planGarbage, type OwnerState } from '../../../../controllers/garbage-collector/plan.ts';
import { ttlLeftMs } from '../../../../controllers/garbage-collector/ttl.ts';
import { containerKind } from '../../../../crds/container.ts';
import type { ObjectMeta } from '../../../../crds/kind.ts';
import { makeContainer, NOW, secondsAgo } from '../../../support/objects.ts';

const ownedBy = (...uids: string[]): Partial<ObjectMeta> => ({
  ownerReferences: uids.map((uid) => ({ apiVersion: 'v1', kind: 'X', name: uid, uid, blockOwnerDeletion: true })),
});
const deleting = (...finalizers: string[]): Partial<ObjectMeta> => ({ deletionTimestamp: secondsAgo(1), finalizers });

function plan(
  metadata: Partial<ObjectMeta>,
  states: Record<string, OwnerState> = {},
  children: Partial<ObjectMeta>[] = [],
) {
  const graph = createGraph();
  const node = graph.set(containerKind, makeContainer('me', { metadata }));
  for (const [index, child] of children.entries()) {
    graph.set(containerKind, makeContainer(`child-${index}`, { metadata: { ...ownedBy('uid-me'), ...child } }));
  }
  const result = planGarbage(node, graph.dependentsOf('uid-me'), ({ uid }) => states[uid] ?? 'present');
  return 'dependents' in result ? { ...result, dependents: result.dependents.map(({ name }) => name) } : result;
}

test('planGarbage() keeps what nobody owns and what has its owner', () => {
  assert.deepEqual(plan({}), { kind: 'keep' });
  assert.deepEqual(plan(ownedBy('a')), { kind: 'keep' });
});

test('planGarbage() deletes what has lost all owners', () => {
  assert.deepEqual(plan(ownedBy('a', 'b'), { a: 'absent', b: 'absent' }), {
    kind: 'delete',
    propagation: 'Background',
  });
});

test('planGarbage() takes lost owners off while another one stands', () => {
  assert.deepEqual(plan(ownedBy('a', 'b', 'c'), { a: 'absent', c: 'waiting' }), {
    kind: 'unlink',
    ownerUids: ['a', 'c'],
  });
});

test('planGarbage() passes a foreground deletion on to what has dependents of its own', () => {
  assert.deepEqual(plan(ownedBy('a'), { a: 'waiting' }), { kind: 'delete', propagation: 'Background' });
  assert.deepEqual(plan(ownedBy('a'), { a: 'waiting' }, [{}]), { kind: 'delete', propagation: 'Foreground' });
});

test('planGarbage() keeps to the finalizer an object has chosen', () => {
  assert.deepEqual(plan({ ...ownedBy('a'), finalizers: [ORPHAN_FINALIZER] }, { a: 'absent' }), {
    kind: 'delete',
    propagation: 'Orphan',
  });
});

test('planGarbage() lets a foreground deletion wait for those that block, and only for those', () => {
  assert.deepEqual(plan(deleting(FOREGROUND_FINALIZER), {}, [{}, {}]), {
    kind: 'await-dependents',
    dependents: ['child-0', 'child-1'],
  });
  const free = { ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'me', uid: 'uid-me' }] };
  assert.deepEqual(plan(deleting(FOREGROUND_FINALIZER), {}, [free]), {
    kind: 'finalize',
    finalizer: FOREGROUND_FINALIZER,
  });
  assert.deepEqual(plan(deleting(FOREGROUND_FINALIZER)), { kind: 'finalize', finalizer: FOREGROUND_FINALIZER });
});

test('planGarbage() sets dependents free before an orphaning owner goes', () => {
  assert.deepEqual(plan(deleting(ORPHAN_FINALIZER), {}, [{}]), { kind: 'orphan-dependents', dependents: ['child-0'] });
  assert.deepEqual(plan(deleting(ORPHAN_FINALIZER)), { kind: 'finalize', finalizer: ORPHAN_FINALIZER });
});

test('planGarbage() leaves a deletion alone that waits for others', () => {
  assert.deepEqual(plan({ ...deleting('windlass.dev/node'), ...ownedBy('a') }, { a: 'absent' }), { kind: 'keep' });
});

test('the graph follows owners that change and objects that go', () => {
  const graph = createGraph();
  const names = (uid: string) => graph.dependentsOf(uid).map(({ name }) => name);
  graph.set(containerKind, makeContainer('a', { metadata: ownedBy('x', 'y') }));
  graph.set(containerKind, makeContainer('a', { metadata: ownedBy('y') }));
  assert.deepEqual([names('x'), names('y'), graph.uidsOf(containerKind)], [[], ['a'], ['uid-a']]);
  graph.remove('uid-a');
  assert.deepEqual([names('y'), graph.get('uid-a')], [[], undefined]);
});

test('ttlLeftMs() counts from the end, and only for what is over', () => {
  const left = (
    phase: 'Running' | 'Failed' | 'Succeeded',
    ttl?: number,
    finishedAt: string | undefined = secondsAgo(4),
  ) =>
    ttlLeftMs(
      makeContainer('c', {
        ...(ttl === undefined ? {} : { ttlSecondsAfterFinished: ttl }),
        status: { phase, ...(finishedAt ? { finishedAt } : {}) },
      }),
      NOW,
    );
  assert.deepEqual([left('Succeeded', 10), left('Failed', 1), left('Failed', 0)], [6000, 0, 0]);
  assert.deepEqual(
    [left('Running', 0), left('Succeeded'), left('Succeeded', 0, 'nonsense')],
    [undefined, undefined, undefined],
  );
});
