import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import { slotVolumes } from '../../../../controllers/service/slot-volumes.ts';
import { slotOfNode, specForSlot, wantedSlots } from '../../../../controllers/service/wanted-slots.ts';
import { planPlacement } from '../../../../controllers/scheduler/plan.ts';
import { emptyNode, type NodeState } from '../../../../controllers/scheduler/node-state.ts';
import type { Node, Taint } from '../../../../crds/builtin.ts';
import { ContainerSpec } from '../../../../crds/container.ts';
import { makeContainer, makeNode, makeService } from '../../../support/objects.ts';

const global = (template: object = {}) => makeService('logs', { mode: 'Global', template });
const slots = (nodes: readonly Node[], template: object = {}, held: readonly string[] = []): string[] =>
  wantedSlots(
    global(template),
    nodes,
    held.map((slot) => makeContainer(`logs-${slot}`, { metadata: { labels: { [SLOT_LABEL]: slot } } })),
  ).map(({ slot }) => slot);

test('wantedSlots() of a Replicated Service are the numbers up to replicas, whatever the nodes', () => {
  const wanted = wantedSlots(makeService('web', { replicas: 3 }), [makeNode('a')], []);
  assert.deepEqual(wanted, [{ slot: '1' }, { slot: '2' }, { slot: '3' }]);
});

test('wantedSlots() of a Global Service are the nodes that its selector and constraints allow', () => {
  const nodes = [makeNode('n10', { labels: { zone: 'east' } }), makeNode('n9', { labels: { zone: 'west' } })];
  assert.deepEqual(slots(nodes), ['n9', 'n10']);
  assert.deepEqual(slots(nodes, { nodeSelector: { zone: 'east' } }), ['n10']);
  assert.deepEqual(slots(nodes, { placement: { constraints: ['node.labels.zone != east'] } }), ['n9']);
  assert.deepEqual(slots(nodes, { nodeName: 'n9' }), ['n9']);
  assert.deepEqual(slots([]), []);
});

test('wantedSlots() of a Global Service keep nodes that are cordoned, silent or full, as a DaemonSet does', () => {
  const tainted = (key: string, effect: Taint['effect']) => [makeNode('a', { taints: [{ key, effect }] })];
  assert.deepEqual(slots([makeNode('a', { unschedulable: true, ready: 'Unknown' })]), ['a']);
  for (const key of ['unschedulable', 'unreachable', 'not-ready', 'disk-pressure']) {
    assert.deepEqual(slots(tainted(`node.kubernetes.io/${key}`, 'NoSchedule')), ['a'], key);
  }
  assert.deepEqual(slots(tainted('node.kubernetes.io/unreachable', 'NoExecute')), ['a']);
});

test('wantedSlots() of a Global Service leave out nodes with a taint, unless it is tolerated', () => {
  const dedicated = (effect: Taint['effect']) => [
    makeNode('a', { taints: [{ key: 'dedicated', value: 'db', effect }] }),
  ];
  const tolerations = [{ key: 'dedicated', operator: 'Exists' as const }];
  assert.deepEqual(slots(dedicated('NoSchedule')), []);
  assert.deepEqual(slots(dedicated('NoSchedule'), { tolerations }), ['a']);
  assert.deepEqual(slots(dedicated('PreferNoSchedule')), ['a']);
  // NoSchedule leaves what is there, NoExecute does not.
  assert.deepEqual(slots(dedicated('NoSchedule'), {}, ['a']), ['a']);
  assert.deepEqual(slots(dedicated('NoExecute'), {}, ['a']), []);
});

test('slotOfNode() is a label and never a number', () => {
  assert.equal(slotOfNode('worker-1.example.org'), 'worker-1.example.org');
  const long = `${'n'.repeat(60)}.example.org`;
  assert.match(slotOfNode(long), /^n{52}-[0-9a-f]{10}$/);
  assert.notEqual(slotOfNode(long), slotOfNode(`${long}g`));
  assert.match(slotOfNode('12'), /^12-[0-9a-f]{10}$/);
});

test('specForSlot() makes the scheduler bind a Container to its node and to no other, also when it is cordoned', () => {
  const service = global({ placement: { constraints: ['node.role != manager'] } });
  const spec = specForSlot(service, service.spec.template.spec, { slot: 'b', nodeName: 'b' });
  assert.deepEqual(ContainerSpec.parse(spec), spec);
  const context = {
    volume: () => undefined,
    network: () => undefined,
    container: () => undefined,
    imageOf: () => undefined,
    nodesOfVolume: () => [],
  };
  const place = (...nodes: Node[]) =>
    planPlacement(
      { ...makeContainer('logs-b'), spec },
      nodes.map((node): NodeState => ({ ...emptyNode(node.metadata.name), node })),
      context,
    );
  assert.deepEqual(place(makeNode('a'), makeNode('b', { unschedulable: true })), { kind: 'bind', nodeName: 'b' });
  assert.match(JSON.stringify(place(makeNode('a'))), /did not satisfy the constraint node.name == b/);
});

test('specForSlot() gives each slot the Volumes of its own', () => {
  const mounts = [
    { mountPath: '/data', volume: 'data', subPath: 'db' },
    { mountPath: '/shared', volume: 'shared' },
    { mountPath: '/cache' },
  ];
  const volumeTemplates = [{ name: 'data', spec: { reclaimPolicy: 'Retain' as const } }];
  const service = makeService('db', { replicas: 2, volumeTemplates, template: { mounts } });
  const spec = specForSlot(service, service.spec.template.spec, { slot: '2' });
  assert.deepEqual(
    spec.mounts?.map(({ mountPath, volume, subPath }) => [mountPath, volume, subPath]),
    [
      ['/data', 'data-db-2', 'db'],
      ['/shared', 'shared', undefined],
      ['/cache', undefined, undefined],
    ],
  );
  const [volume, ...more] = slotVolumes(service, '2');
  assert.deepEqual([volume?.metadata.name, volume?.spec.reclaimPolicy, more], ['data-db-2', 'Retain', []]);
});
