import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drainConditions, planDrain, stampTaints } from '../../../../controllers/node-lifecycle/drain-plan.ts';
import { DRAIN_TAINT, type Node, type Taint } from '../../../../crds/builtin.ts';
import type { Container, ContainerSpecInput } from '../../../../crds/container.ts';
import { makeContainer, makeNode, NOW, secondsAgo } from '../../../support/objects.ts';

const OWNER = { apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'web', uid: 'uid-web', controller: true };
const DRAIN: Taint = { key: DRAIN_TAINT, effect: 'NoExecute', timeAdded: secondsAgo(30) };

function replica(
  slot: number | string,
  {
    phase = 'Running',
    deleting = false,
    ...spec
  }: Partial<ContainerSpecInput> & { phase?: string; deleting?: boolean } = {},
): Container {
  return makeContainer(`web-${slot}`, {
    ...spec,
    metadata: {
      ownerReferences: [OWNER],
      labels: { 'windlass.dev/slot': String(slot) },
      ...(deleting ? { deletionTimestamp: secondsAgo(1) } : {}),
    },
    status: { phase: phase as 'Running' },
  });
}

const tainted = (...taints: Taint[]): Node => makeNode('a', { taints });
const evicted = (node: Node, containers: readonly Container[]): string[] =>
  planDrain({ node, containers, now: NOW }).evict.map(({ metadata }) => metadata.name);
const tolerating = (more: { tolerationSeconds?: number } = {}): Partial<ContainerSpecInput> => ({
  tolerations: [{ key: DRAIN_TAINT, operator: 'Exists', ...more }],
});

test('planDrain() evicts what a Service makes again elsewhere, and nothing else', () => {
  const containers = [
    replica(1),
    replica(2, { deleting: true }),
    replica(3, { phase: 'Succeeded' }),
    replica('a'),
    // Nodes of a Global Service, whose names look like numbers to Number().
    replica('1e3'),
    replica('0x1f'),
    makeContainer('alone'),
  ];
  assert.deepEqual(evicted(tainted(DRAIN), containers), ['web-1']);
});

test('planDrain() acts on NoExecute alone, and not on what says that the node is away', () => {
  const none = (key: string, effect: Taint['effect'] = 'NoExecute'): void =>
    assert.deepEqual(evicted(tainted({ key, effect, timeAdded: secondsAgo(1) }), [replica(1)]), []);
  none(DRAIN_TAINT, 'NoSchedule');
  none('node.kubernetes.io/unreachable');
  none('node.kubernetes.io/not-ready');
  assert.deepEqual(evicted(tainted({ key: 'gpu', effect: 'NoExecute' }), [replica(1)]), ['web-1']);
});

test('planDrain() waits as long as a toleration says', () => {
  assert.deepEqual(planDrain({ node: tainted(DRAIN), containers: [replica(1, tolerating())], now: NOW }), {
    evict: [],
  });
  const patient = [replica(1, tolerating({ tolerationSeconds: 50 }))];
  assert.deepEqual(planDrain({ node: tainted(DRAIN), containers: patient, now: NOW }), {
    evict: [],
    requeueAfterMs: 20_000,
  });
  assert.deepEqual(evicted(tainted(DRAIN), [replica(1, tolerating({ tolerationSeconds: 30 }))]), ['web-1']);
  assert.deepEqual(evicted(tainted(DRAIN, { key: 'gpu', effect: 'NoExecute' }), [replica(1, tolerating())]), ['web-1']);
});

test('stampTaints() puts the time on NoExecute taints that lack it', () => {
  assert.equal(stampTaints([DRAIN, { key: 'x', effect: 'NoSchedule' }], NOW), undefined);
  assert.deepEqual(stampTaints([{ key: 'x', effect: 'NoExecute' }, DRAIN], NOW), [
    { key: 'x', effect: 'NoExecute', timeAdded: '2026-01-01T00:00:00Z' },
    DRAIN,
  ]);
});

test('drainConditions() says how far a drain is and what keeps it', () => {
  const node = tainted(DRAIN);
  const said = (containers: Container[], blocked: Record<string, string> = {}) => {
    const conditions = drainConditions({ node, containers, now: NOW }, new Map(Object.entries(blocked)));
    const drained = conditions?.find(({ type }) => type === 'Drained');
    return drained && `${drained.status} ${drained.reason}: ${drained.message}`;
  };
  assert.equal(said([]), 'True Drained: no Container of a Service is left that has to go');
  assert.equal(
    said([makeContainer('alone'), replica(9, tolerating())]),
    'True Drained: no Container of a Service is left that has to go; 1 that stand alone stay',
  );
  assert.equal(said([replica('a')]), 'False Draining: 1 container(s) left');
  assert.equal(said([replica(1, { deleting: true })]), 'False Draining: 1 container(s) left');
  assert.equal(
    said([replica(1), replica(2)], { 'default/web-2': 'needs 2' }),
    'False DisruptionBudget: 2 container(s) left, 1 of them kept by a disruption budget (default/web-2: needs 2)',
  );
});

test('drainConditions() is undefined when nothing changes, and takes the condition off with the taint', () => {
  const drained = drainConditions({ node: tainted(DRAIN), containers: [], now: NOW }, new Map()) ?? [];
  assert.deepEqual(
    drained.map(({ type }) => type),
    ['Ready', 'Drained'],
  );
  const again = { ...tainted(DRAIN), status: { conditions: drained } };
  assert.equal(drainConditions({ node: again, containers: [], now: NOW }, new Map()), undefined);
  const active = { ...makeNode('a'), status: { conditions: drained } };
  assert.deepEqual(
    drainConditions({ node: active, containers: [], now: NOW }, new Map())?.map(({ type }) => type),
    ['Ready'],
  );
  assert.equal(drainConditions({ node: makeNode('a'), containers: [], now: NOW }, new Map()), undefined);
});
