import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DISK_PRESSURE,
  isEvictionSuspended,
  planEviction,
  planNode,
  UNREACHABLE,
} from '../../../../controllers/node-lifecycle/plan.ts';
import { isDeadHere } from '../../../../controllers/predecessor.ts';
import type { Node, Taint } from '../../../../crds/builtin.ts';
import type { Container } from '../../../../crds/container.ts';
import { makeContainer, makeNode, NOW, secondsAgo } from '../../../support/objects.ts';

const GRACE = 40_000;
function plan(node: Node, silentSeconds: number) {
  const result = planNode({ node, renewalSeenAt: NOW - silentSeconds * 1000, graceMs: GRACE, now: NOW });
  return {
    isSilent: result.isSilent,
    taints: result.taints?.map(({ key, effect }) => `${key.split('/')[1]}:${effect}`),
    ready: result.conditions?.find(({ type }) => type === 'Ready')?.status,
    requeueAfterMs: result.requeueAfterMs,
  };
}

test('planNode() leaves a node alone that is heard of', () => {
  assert.deepEqual(plan(makeNode('a'), 10), {
    isSilent: false,
    taints: undefined,
    ready: undefined,
    requeueAfterMs: 30_000,
  });
});

test('planNode() marks and taints a node that fell silent', () => {
  assert.deepEqual(plan(makeNode('a'), 40), {
    isSilent: true,
    taints: ['unreachable:NoSchedule', 'unreachable:NoExecute'],
    ready: 'Unknown',
    requeueAfterMs: GRACE,
  });
});

test('planNode() keeps new Containers off a node with DiskPressure, until it is over', () => {
  const withDisk = (status: 'True' | 'False', taints: Taint[] = []): Node => {
    const node = makeNode('a', { taints });
    return {
      ...node,
      status: {
        ...node.status,
        conditions: [...(node.status?.conditions ?? []), { type: 'DiskPressure', status, reason: 'Test', message: '' }],
      },
    };
  };
  const taint: Taint = { key: DISK_PRESSURE, effect: 'NoSchedule' };
  assert.deepEqual(plan(withDisk('True'), 1).taints, ['disk-pressure:NoSchedule']);
  assert.equal(plan(withDisk('True', [taint]), 1).taints, undefined);
  assert.deepEqual(plan(withDisk('False', [taint]), 1).taints, []);
  // One that fell silent is not known to have room again.
  const silent = plan(withDisk('True', [taint]), 40).taints;
  assert.deepEqual(silent, ['disk-pressure:NoSchedule', 'unreachable:NoSchedule', 'unreachable:NoExecute']);
});

test('planNode() does it once', () => {
  const taints: Taint[] = [
    { key: UNREACHABLE, effect: 'NoSchedule' },
    { key: UNREACHABLE, effect: 'NoExecute', timeAdded: secondsAgo(5) },
  ];
  const result = plan(makeNode('a', { ready: 'Unknown', taints }), 100);
  assert.deepEqual([result.taints, result.ready], [undefined, undefined]);
});

test('planNode() takes the taints off when the node is back, and leaves those of others', () => {
  const taints: Taint[] = [
    { key: UNREACHABLE, effect: 'NoExecute' },
    { key: 'mine', effect: 'NoSchedule' },
  ];
  const result = planNode({ node: makeNode('a', { taints }), renewalSeenAt: NOW, graceMs: GRACE, now: NOW });
  assert.deepEqual(result.taints, [{ key: 'mine', effect: 'NoSchedule' }]);
});

test('planNode() taints a node that says itself that it is not ready', () => {
  assert.deepEqual(plan(makeNode('a', { ready: 'False' }), 1).taints, ['not-ready:NoSchedule', 'not-ready:NoExecute']);
});

const owned = (name: string, more: Parameters<typeof makeContainer>[1] = {}): Container =>
  makeContainer(name, {
    status: { phase: 'Running', nodeName: 'a' },
    ...more,
    metadata: {
      ownerReferences: [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 's', uid: 's', controller: true }],
      ...more.metadata,
    },
  });

function evict(containers: Container[], { seconds = 30, isSuspended = false, gone = false, countsFromMs = 0 } = {}) {
  const node = makeNode('a', { taints: [{ key: UNREACHABLE, effect: 'NoExecute', timeAdded: secondsAgo(seconds) }] });
  const result = planEviction({
    node: gone ? undefined : node,
    containers,
    evictionDelayMs: 20_000,
    isSuspended,
    silentSinceMs: NOW - seconds * 1000,
    countsFromMs,
    now: NOW,
  });
  const names = (list: readonly Container[]) => list.map(({ metadata }) => metadata.name);
  return { unknown: names(result.markUnknown), release: names(result.release), requeueAfterMs: result.requeueAfterMs };
}

test('planEviction() marks at once and releases after the delay', () => {
  assert.deepEqual(evict([owned('c')], { seconds: 5 }), { unknown: ['c'], release: [], requeueAfterMs: 15_000 });
  assert.deepEqual(evict([owned('c')], { seconds: 20 }), { unknown: [], release: ['c'], requeueAfterMs: undefined });
});

test('planEviction() goes by its own clock when the taint comes from one that is ahead', () => {
  const plan = (silentSeconds: number) =>
    planEviction({
      node: makeNode('a', { taints: [{ key: UNREACHABLE, effect: 'NoExecute', timeAdded: secondsAgo(-3600) }] }),
      containers: [owned('c')],
      evictionDelayMs: 20_000,
      isSuspended: false,
      silentSinceMs: NOW - silentSeconds * 1000,
      countsFromMs: 0,
      now: NOW,
    });
  assert.equal(plan(5).requeueAfterMs, 15_000);
  assert.deepEqual(
    plan(21).release.map(({ metadata }) => metadata.name),
    ['c'],
  );
});

test('planEviction() keeps what stands alone: it is nowhere else', () => {
  const alone = makeContainer('alone', { status: { phase: 'Running', nodeName: 'a' } });
  assert.deepEqual(evict([alone]), { unknown: ['alone'], release: [], requeueAfterMs: undefined });
});

test('planEviction() lets go of what is being deleted', () => {
  const leaving = makeContainer('x', {
    metadata: { deletionTimestamp: secondsAgo(9), finalizers: ['windlass.dev/node'] },
    status: { phase: 'Unknown' },
  });
  assert.deepEqual(evict([leaving]).release, ['x']);
});

test('planEviction() follows tolerations', () => {
  const tolerant = (seconds?: number) =>
    owned('c', {
      tolerations: [
        { key: UNREACHABLE, operator: 'Exists', ...(seconds === undefined ? {} : { tolerationSeconds: seconds }) },
      ],
    });
  assert.deepEqual(evict([tolerant(60)]), { unknown: ['c'], release: [], requeueAfterMs: 30_000 });
  assert.deepEqual(evict([tolerant()]).release, []);
  assert.deepEqual(evict([tolerant(10)], { seconds: 11 }).release, ['c']);
});

test('planEviction() keeps what is of a Global Service on a silent node, until it is being deleted', () => {
  const global = (slot: string, deleting: boolean) =>
    owned(slot, {
      tolerations: [{ key: UNREACHABLE, operator: 'Exists', effect: 'NoExecute' }],
      metadata: {
        labels: { 'windlass.dev/slot': slot },
        ...(deleting ? { deletionTimestamp: secondsAgo(9), finalizers: ['windlass.dev/node'] } : {}),
      },
    });
  assert.deepEqual(evict([global('a', false), global('b', true)]).release, ['b']);
  assert.equal(evict([global('b', true)], { seconds: 5 }).requeueAfterMs, 15_000);
  // Its successor might start elsewhere, which the toleration is there to prevent.
  assert.deepEqual(evict([global('1', true)]).release, []);
});

test('planEviction() does nothing but mark while the observer is the suspect', () => {
  assert.deepEqual(evict([owned('c')], { isSuspended: true }), {
    unknown: ['c'],
    release: [],
    requeueAfterMs: undefined,
  });
});

test('planEviction() gives a node the whole delay again once the observer is no longer the suspect', () => {
  const plan = (secondsFromNow: number) =>
    evict([owned('c')], { seconds: 300, countsFromMs: NOW + secondsFromNow * 1000 });
  assert.deepEqual(plan(40), { unknown: ['c'], release: [], requeueAfterMs: 60_000 });
  assert.deepEqual(plan(-19), { unknown: ['c'], release: [], requeueAfterMs: 1_000 });
  assert.deepEqual(plan(-20).release, ['c']);
});

test('planEviction() does not mark what had ended', () => {
  assert.deepEqual(evict([owned('c', { status: { phase: 'Succeeded' } })], { seconds: 1 }).unknown, []);
});

test('planEviction() releases at once when the node is gone, but waits with what it never had', () => {
  const bound = owned('new', { status: { phase: 'Pending' } });
  assert.deepEqual(evict([owned('c'), bound], { gone: true }), {
    unknown: [],
    release: ['c'],
    requeueAfterMs: undefined,
  });
});

test('isEvictionSuspended() when most nodes are silent, and on one node', () => {
  const cases: [number, number, boolean][] = [
    [1, 1, true],
    [1, 2, false],
    [2, 2, true],
    [1, 3, false],
    [2, 3, true],
    [5, 10, false],
    [6, 10, true],
  ];
  for (const [silent, all, expected] of cases)
    assert.equal(isEvictionSuspended(silent, all), expected, `${silent} of ${all}`);
});

test('isDeadHere() is only sure about processes of this machine', () => {
  const self = { host: 'h', namespace: '42', isAlive: (pid: number) => pid === 7 };
  assert.deepEqual(
    ['h_42_8_x', 'h_42_7_x', 'other_42_8_x', 'h_43_8_x', '', 'h_42', 'h_42_abc_x'].map((holder) =>
      isDeadHere(holder, self),
    ),
    [true, false, false, false, false, false, false],
  );
});
