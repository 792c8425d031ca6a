import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlacementContext } from '../../../../controllers/scheduler/filter.ts';
import { createLedger } from '../../../../controllers/scheduler/ledger.ts';
import { planPlacement } from '../../../../controllers/scheduler/plan.ts';
import { planPreemption } from '../../../../controllers/scheduler/preemption.ts';
import type { Node } from '../../../../crds/builtin.ts';
import type { Container, ContainerSpecInput } from '../../../../crds/container.ts';
import { makeContainer, makeNode, secondsAgo } from '../../../support/objects.ts';

const context: PlacementContext = {
  volume: () => undefined,
  network: () => undefined,
  container: () => undefined,
  imageOf: () => undefined,
  nodesOfVolume: () => [],
};

function makeLedger(nodes: Node[], running: Container[]) {
  const ledger = createLedger();
  for (const node of nodes) ledger.setNode(node);
  for (const container of running) ledger.setContainer(container);
  return ledger;
}

function preempt(
  container: Container,
  nodes: Node[],
  running: Container[],
  { nomination, kept = [] }: { nomination?: string; kept?: readonly string[] } = {},
) {
  const plan = planPreemption(container, makeLedger(nodes, running).nodes(), {
    context,
    nomination,
    beyondBudgets: (claims) => new Set(claims.filter(({ key }) => kept.includes(key.split('/')[1] ?? ''))),
  });
  return plan && `${plan.nodeName}: ${plan.victims.map(({ key }) => key.split('/')[1]).join(' ')}`;
}

const small = (name: string, allocatable = { cpu: '2', memory: '8Gi' }) => makeNode(name, { allocatable });
const asking = (cpu: string): Pick<ContainerSpecInput, 'resources'> => ({ resources: { requests: { cpu } } });
const important = (cpu: string, priority = 10) => makeContainer('important', { ...asking(cpu), priority });
const replica = (
  name: string,
  nodeName: string,
  { priority = 0, cpu = '1', deletionTimestamp }: { priority?: number; cpu?: string; deletionTimestamp?: string } = {},
) =>
  makeContainer(name, {
    nodeName,
    priority,
    ...asking(cpu),
    metadata: {
      ownerReferences: [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 's', uid: 'uid-s', controller: true }],
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
  });

test('planPreemption() displaces no more than it must', () => {
  const running = [replica('a1', 'a'), replica('a2', 'a')];
  assert.equal(preempt(important('1'), [small('a')], running), 'a: a2');
  assert.equal(preempt(important('2'), [small('a')], running), 'a: a1 a2');
});

test('planPreemption() never displaces what is as important or more', () => {
  const running = [replica('a1', 'a', { priority: 10 }), replica('a2', 'a', { priority: 11 })];
  assert.equal(preempt(important('1'), [small('a')], running), undefined);
  assert.equal(preempt(important('1', 11), [small('a')], running), 'a: a1');
});

test('planPreemption() leaves Containers that stand alone: nobody would make them again', () => {
  const alone = makeContainer('alone', { nodeName: 'a', ...asking('2') });
  assert.equal(preempt(important('1'), [small('a')], [alone]), undefined);
});

test('planPreemption() takes the least important, then the fewest', () => {
  const running = [
    replica('a1', 'a', { priority: 5, cpu: '2' }),
    replica('b1', 'b'),
    replica('b2', 'b'),
    replica('c1', 'c', { cpu: '2' }),
  ];
  assert.equal(
    preempt(
      important('2'),
      ['a', 'b', 'c'].map((name) => small(name)),
      running,
    ),
    'c: c1',
  );
});

test('planPreemption() displaces nobody where that does not help', () => {
  const tainted = makeNode('a', {
    allocatable: { cpu: '2' },
    taints: [{ key: 'x', effect: 'NoSchedule' }],
  });
  assert.equal(preempt(important('1'), [tainted], [replica('a1', 'a', { cpu: '2' })]), undefined);
  assert.equal(preempt(important('3'), [small('a')], [replica('a1', 'a', { cpu: '2' })]), undefined);
});

test('planPreemption() frees a host port from its holder alone', () => {
  const holder = replica('holder', 'a', { cpu: '100m' });
  holder.spec.ports = makeContainer('x', { ports: [{ containerPort: 80, hostPort: 80 }] }).spec.ports;
  const wanting = makeContainer('c', { priority: 1, ports: [{ containerPort: 80, hostPort: 80 }] });
  assert.equal(preempt(wanting, [small('a')], [replica('other', 'a'), holder]), 'a: holder');
});

test('planPreemption() waits for those that leave already', () => {
  const leaving = replica('a1', 'a', { cpu: '2', deletionTimestamp: secondsAgo(1) });
  const running = [leaving, replica('b1', 'b', { cpu: '2' })];
  assert.equal(preempt(important('1'), [small('b'), small('a')], running), 'a: ');
  assert.equal(preempt(important('1'), [small('b'), small('a')], running, { nomination: 'a' }), 'a: ');
});

test('a place that is kept for one is not given to those who are not more important', () => {
  const ledger = makeLedger([small('a')], []);
  ledger.nominate(important('2'), 'a');
  const place = (priority: number) =>
    planPlacement(makeContainer('c', { ...asking('1'), priority }), ledger.nodes(), context).kind;
  assert.deepEqual([place(0), place(10), place(11)], ['unschedulable', 'unschedulable', 'bind']);
  assert.equal(planPlacement(important('2'), ledger.nodes(), context).kind, 'bind');
  assert.equal(ledger.removeContainer('default/important', 'uid-important'), true);
  assert.equal(place(0), 'bind');
});

test('planPreemption() decides for 1,000 Containers on 100 full nodes', (t) => {
  const nodes = Array.from({ length: 100 }, (_, index) => makeNode(`n${index}`, { allocatable: { cpu: '10' } }));
  const running = nodes.flatMap(({ metadata: { name } }) =>
    Array.from({ length: 10 }, (_, index) => replica(`${name}-${index}`, name)),
  );
  const ledger = makeLedger(nodes, running);
  const before = process.cpuUsage();
  let displaced = 0;
  for (let index = 0; index < 1000; index += 1) {
    const container = makeContainer(`c${index}`, { ...asking('1'), priority: 1 });
    const plan = planPreemption(container, ledger.nodes(), {
      context,
      nomination: undefined,
      beyondBudgets: () => new Set(),
    });
    if (!plan) continue;
    for (const victim of plan.victims) {
      ledger.removeContainer(victim.key, victim.uid);
      displaced += 1;
    }
    ledger.assume(container, plan.nodeName);
  }
  const { user, system } = process.cpuUsage(before);
  assert.equal(displaced, 1000);
  t.diagnostic(`displaced 1,000 in ${Math.round((user + system) / 1000)} ms of processor time`);
});

test('planPreemption() displaces what no budget keeps before what one does, on the node where fewest are', () => {
  const pair = [replica('a1', 'a'), replica('a2', 'a', { priority: 5 })];
  assert.equal(preempt(important('1'), [small('a')], pair), 'a: a1');
  assert.equal(preempt(important('1'), [small('a')], pair, { kept: ['a1'] }), 'a: a2');
  assert.equal(preempt(important('2'), [small('a')], pair, { kept: ['a1', 'a2'] }), 'a: a2 a1');
  const other = replica('b1', 'b', { priority: 9, cpu: '2' });
  assert.equal(preempt(important('2'), [small('a'), small('b')], [...pair, other]), 'a: a2 a1');
  assert.equal(preempt(important('2'), [small('a'), small('b')], [...pair, other], { kept: ['a1'] }), 'b: b1');
});
