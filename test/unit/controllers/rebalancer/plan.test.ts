import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planMoves } from '../../../../controllers/rebalancer/plan.ts';
import { createLedger } from '../../../../controllers/scheduler/ledger.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Service, ServiceSpecInput } from '../../../../crds/service.ts';
import { makeContainer, makeNode, makeService, NOW, readyCondition } from '../../../support/objects.ts';

/** A Service and its Ready replicas, on the nodes named. */
function makeReplicas(name: string, on: readonly string[], spec: Partial<Container['spec']> = {}) {
  const replicas = on.length;
  const service: Service = makeService(name, {
    replicas,
    template: spec as ServiceSpecInput['template']['spec'],
    status: { observedGeneration: 1, updatedReplicas: replicas },
  });
  const children = on.map((nodeName, index) =>
    makeContainer(`${name}-${index + 1}`, {
      ...spec,
      nodeName,
      metadata: {
        ownerReferences: [
          { apiVersion: 'windlass.dev/v1', kind: 'Service', name, uid: `uid-${name}`, controller: true },
        ],
      },
      status: { phase: 'Running', conditions: [readyCondition()] },
    }),
  );
  return { service, children };
}

const abc = ['a', 'b', 'c'].map((name) => makeNode(name));

function plan(
  all: readonly ReturnType<typeof makeReplicas>[],
  {
    nodes = abc,
    others = [] as Container[],
    ...rest
  }: Record<string, unknown> & { nodes?: typeof abc; others?: Container[] } = {},
) {
  const ledger = createLedger();
  for (const node of nodes) ledger.setNode(node);
  for (const container of [...all.flatMap(({ children }) => children), ...others]) ledger.setContainer(container);
  const result = planMoves({
    services: all.map(({ service }) => service),
    nodes: ledger.nodes(),
    context: {
      volume: () => undefined,
      network: () => undefined,
      container: () => undefined,
      imageOf: () => undefined,
      nodesOfVolume: (key) => ledger.nodesOfVolume(key),
    },
    childrenOf: (service) => all.find((one) => one.service === service)?.children ?? [],
    tied: new Set(),
    mayDisrupt: () => true,
    moving: new Map(),
    maxMoves: 1,
    settleMs: 30_000,
    seenSince: ({ status }) => Date.parse(status?.conditions?.[0]?.lastTransitionTime ?? ''),
    now: NOW,
    ...rest,
  });
  return {
    ...result,
    moves: result.moves.map(({ container, from, to }) => `${container.metadata.name}: ${from} ${to}`),
  };
}

test('planMoves() moves one replica from the fullest node to the emptiest', () => {
  assert.deepEqual(plan([makeReplicas('s', ['a', 'a', 'a', 'b'])]).moves, ['s-3: a c']);
});

test('planMoves() leaves alone what cannot be spread better', () => {
  assert.deepEqual(plan([makeReplicas('s', ['a', 'a', 'b', 'b', 'c'])]).moves, []);
  assert.deepEqual(plan([makeReplicas('s', ['a'])]).moves, []);
});

test('planMoves() comes to an end', () => {
  let on = ['a', 'a', 'a', 'a', 'a', 'a', 'a'];
  let moves = 0;
  for (;;) {
    const [move] = plan([makeReplicas('s', on)]).moves;
    if (move === undefined) break;
    const [, slot = '', , to = ''] = /^s-(\d+): (\w) (\w)$/.exec(move) ?? [];
    on = on.with(Number(slot) - 1, to);
    moves += 1;
    assert.ok(moves < 10);
  }
  assert.deepEqual([moves, on.toSorted().join('')], [4, 'aaabbcc']);
});

test('planMoves() spreads over the values of a label first', () => {
  const nodes = [
    ['a', 'x'],
    ['b', 'x'],
    ['c', 'y'],
  ].map(([name = '', zone = '']) => makeNode(name, { labels: { zone } }));
  assert.deepEqual(plan([makeReplicas('s', ['a', 'b'], { placement: { spread: ['zone'] } })], { nodes }).moves, [
    's-1: a c',
  ]);
});

test('planMoves() keeps to its budget, moves under way included', () => {
  const all = ['s', 't', 'u'].map((name) => makeReplicas(name, ['a', 'a']));
  assert.deepEqual(plan(all).moves.length, 1);
  assert.deepEqual(plan(all, { maxMoves: 2 }).moves.length, 2);
  const under = plan(all, { maxMoves: 2, moving: new Map([['default/s', 'uid-s-2']]) });
  assert.deepEqual([under.moves.map((move) => move.slice(0, 1)), under.arrived], [['t'], []]);
  const done = plan(all, {
    moving: new Map([
      ['default/s', 'uid-before'],
      ['default/gone', 'uid-x'],
    ]),
  });
  assert.deepEqual([done.moves.length, done.arrived], [1, ['default/s', 'default/gone']]);
});

test('planMoves() waits for a Service that has not all its replicas, or is being updated', () => {
  const failing = makeReplicas('s', ['a', 'a']);
  const [first] = failing.children;
  if (first) first.status = { phase: 'Running', conditions: [readyCondition('False')] };
  assert.deepEqual(plan([failing]).moves, []);
  const updated = makeReplicas('s', ['a', 'a']);
  updated.service.status = { observedGeneration: 1, updatedReplicas: 1 };
  assert.deepEqual(plan([updated]).moves, []);
});

test('planMoves() leaves what is tied to its node', () => {
  const bound = makeReplicas('s', ['a', 'a'], makeContainer('x', { mounts: [{ mountPath: '/d', volume: 'v' }] }).spec);
  assert.deepEqual(plan([bound]).moves, []);
  const one = makeReplicas('s', ['a', 'a']);
  assert.deepEqual(plan([one], { tied: new Set(['default/s-2']) }).moves, ['s-1: a b']);
  assert.deepEqual(plan([one], { tied: new Set(['default/s-1', 'default/s-2']) }).moves, []);
});

test('planMoves() leaves what a disruption budget keeps', () => {
  const one = makeReplicas('s', ['a', 'a']);
  assert.deepEqual(plan([one], { mayDisrupt: () => false }).moves, []);
});

test('planMoves() moves nothing to a node that is not Ready, or not for long enough', () => {
  const target = (ready: 'True' | 'False', seconds: number) => {
    const node = makeNode('b', { ready });
    for (const condition of node.status?.conditions ?? []) {
      condition.lastTransitionTime = new Date(NOW - seconds * 1000).toISOString();
    }
    return { nodes: [makeNode('a'), node] };
  };
  const all = [makeReplicas('s', ['a', 'a'])];
  assert.deepEqual(plan(all, target('False', 100)).moves, []);
  assert.deepEqual(plan(all, target('True', 10)), { moves: [], arrived: [], requeueAfterMs: 20_000 });
  assert.deepEqual(plan(all, target('True', 31)).moves, ['s-2: a b']);
});
