import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlacementContext } from '../../../../controllers/scheduler/filter.ts';
import { parseConstraint } from '../../../../controllers/scheduler/filters/constraints.ts';
import { createLedger } from '../../../../controllers/scheduler/ledger.ts';
import { planPlacement } from '../../../../controllers/scheduler/plan.ts';
import { ENCRYPTION_KEY_ANNOTATION, ENCRYPTION_LACKS_ANNOTATION } from '../../../../controllers/runtime/object-key.ts';
import type { Node } from '../../../../crds/builtin.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Image } from '../../../../crds/image.ts';
import type { Network } from '../../../../crds/network.ts';
import type { Volume } from '../../../../crds/volume.ts';
import { makeContainer, makeImage, makeNetwork, makeNode, makeVolume } from '../../../support/objects.ts';

function place(
  container: Container,
  nodes: Node[],
  running: Container[] = [],
  volumes: Volume[] = [],
  image?: Image,
  networks: Network[] = [],
) {
  const ledger = createLedger();
  for (const node of nodes) ledger.setNode(node);
  for (const other of running) ledger.setContainer(other);
  const context: PlacementContext = {
    volume: (key) => volumes.find(({ metadata }) => `default/${metadata.name}` === key),
    network: (key) => networks.find(({ metadata }) => `default/${metadata.name}` === key),
    container: (key) => running.find(({ metadata }) => `default/${metadata.name}` === key),
    imageOf: () => image,
    nodesOfVolume: (key) => ledger.nodesOfVolume(key),
  };
  const placement = planPlacement(container, ledger.nodes(), context);
  return placement.kind === 'bind' ? placement.nodeName : `${placement.reason}: ${placement.message}`;
}

const owned = (name: string, nodeName?: string): Container =>
  makeContainer(name, {
    ...(nodeName ? { nodeName } : {}),
    metadata: {
      ownerReferences: [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 's', uid: 'uid-s', controller: true }],
    },
  });

test('planPlacement() without nodes says so', () => {
  assert.equal(place(makeContainer('c'), []), 'Unschedulable: 0/0 nodes are available: no node has joined yet');
});

test('planPlacement() keeps who is on an encrypted network off nodes that cannot encrypt', () => {
  const key = Buffer.alloc(32, 1).toString('base64');
  const can = makeNode('can', { annotations: { [ENCRYPTION_KEY_ANNOTATION]: key } });
  const lacks = 'the kernel has no WireGuard';
  const cannot = makeNode('cannot', { annotations: { [ENCRYPTION_LACKS_ANNOTATION]: lacks } });
  const networks = [makeNetwork('secret', { driver: 'overlay', encrypted: true }), makeNetwork('open')];
  const on = (name: string, nodes: Node[]): string =>
    place(makeContainer('c', { networks: [{ name }] }), nodes, [], [], undefined, networks);
  assert.equal(on('secret', [cannot, can]), 'can');
  assert.equal(on('open', [cannot]), 'cannot');
  assert.equal(
    on('secret', [cannot, makeNode('old')]),
    'Unschedulable: 0/2 nodes are available: 2 node(s) could not encrypt network secret (cannot: the kernel has no WireGuard; old: its agent has not said that it can)',
  );
});

test('planPlacement() counts nodes by what keeps them out', () => {
  const nodes = [
    makeNode('a', { ready: 'Unknown' }),
    makeNode('b', { ready: 'False' }),
    makeNode('c', { unschedulable: true }),
  ];
  assert.equal(
    place(makeContainer('c'), nodes),
    'Unschedulable: 0/3 nodes are available: 2 node(s) were not ready, 1 node(s) were unschedulable (cordoned)',
  );
});

test('planPlacement() respects taints unless they are tolerated', () => {
  const tainted = makeNode('a', { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] });
  assert.match(place(makeContainer('c'), [tainted]), /had the untolerated taint gpu=yes:NoSchedule/);
  assert.equal(place(makeContainer('c', { tolerations: [{ key: 'gpu', value: 'yes' }] }), [tainted]), 'a');
  assert.equal(place(makeContainer('c', { tolerations: [{ operator: 'Exists' }] }), [tainted]), 'a');
  assert.match(place(makeContainer('c', { tolerations: [{ key: 'gpu', value: 'no' }] }), [tainted]), /untolerated/);
});

test('planPlacement() only avoids PreferNoSchedule', () => {
  const avoided = makeNode('a', { taints: [{ key: 'x', effect: 'PreferNoSchedule' }] });
  assert.equal(place(makeContainer('c'), [avoided]), 'a');
  assert.equal(place(makeContainer('c'), [avoided, makeNode('b')]), 'b');
});

test('planPlacement() follows nodeSelector and constraints', () => {
  const nodes = [
    makeNode('a', { labels: { zone: 'west' } }),
    makeNode('b', { labels: { zone: 'east', 'node-role.kubernetes.io/control-plane': '' } }),
  ];
  assert.equal(place(makeContainer('c', { nodeSelector: { zone: 'east' } }), nodes), 'b');
  const constrained = (...constraints: string[]): string =>
    place(makeContainer('c', { placement: { constraints } }), nodes);
  assert.equal(constrained('node.labels.zone == west'), 'a');
  assert.equal(constrained('node.labels.zone!=west'), 'b');
  assert.equal(constrained('node.role != manager'), 'a');
  assert.equal(constrained('node.name == b', 'node.role == manager'), 'b');
  assert.match(
    constrained('node.labels.zone == north'),
    /2 node\(s\) did not satisfy the constraint node.labels.zone == north/,
  );
});

test('parseConstraint() takes text apart, and is undefined for what is none', () => {
  assert.deepEqual(parseConstraint('node.labels.a==b c'), { subject: 'node.labels.a', equal: true, value: 'b c' });
  assert.equal(parseConstraint('node.labels.a'), undefined);
  assert.equal(parseConstraint('=='), undefined);
});

test('planPlacement() sets requests aside, not limits', () => {
  const node = makeNode('a', { allocatable: { cpu: '1', memory: '1Gi' } });
  const running = [
    makeContainer('r', {
      nodeName: 'a',
      resources: { requests: { cpu: '600m', memory: '512Mi' }, limits: { memory: '9Gi' } },
    }),
  ];
  const ask = (cpu: string, memory: string): string =>
    place(makeContainer('c', { resources: { requests: { cpu, memory } } }), [node], running);
  assert.equal(ask('400m', '512Mi'), 'a');
  assert.match(ask('500m', '1Mi'), /had insufficient cpu \(a: needs 500m, 400m free\)/);
  assert.match(ask('100m', '513Mi'), /had insufficient memory \(a: needs 513Mi, 512Mi free\)/);
});

test('planPlacement() gives back what finished Containers held', () => {
  const node = makeNode('a', { allocatable: { cpu: '1' } });
  const done = makeContainer('r', {
    nodeName: 'a',
    resources: { requests: { cpu: 1 } },
    status: { phase: 'Succeeded' },
  });
  assert.equal(place(makeContainer('c', { resources: { requests: { cpu: 1 } } }), [node], [done]), 'a');
});

test('planPlacement() names port and holder of a conflict', () => {
  const nodes = [makeNode('a')];
  const holder = makeContainer('web', { nodeName: 'a', ports: [{ containerPort: 80, hostPort: 8080 }] });
  const ask = (port: object): string =>
    place(makeContainer('c', { ports: [{ containerPort: 80, ...port }] }), nodes, [holder]);
  assert.equal(
    ask({ hostPort: 8080 }),
    'PortConflict: 0/1 nodes are available: 1 node(s) had host port 8080/TCP taken (a: by container default/web)',
  );
  assert.match(ask({ hostPort: 8080, hostIP: '127.0.0.1' }), /^PortConflict/);
  assert.equal(ask({ hostPort: 8080, protocol: 'UDP' }), 'a');
  assert.equal(ask({ hostPort: 0 }), 'a');
  assert.equal(ask({ hostPort: 8081 }), 'a');
});

test('planPlacement() lets two addresses share a port', () => {
  const holder = makeContainer('web', {
    nodeName: 'a',
    ports: [{ containerPort: 80, hostPort: 80, hostIP: '127.0.0.1' }],
  });
  const other = makeContainer('c', { ports: [{ containerPort: 80, hostPort: 80, hostIP: '10.0.0.1' }] });
  assert.equal(place(other, [makeNode('a')], [holder]), 'a');
});

test('planPlacement() goes where the volume is, also before its object says so', () => {
  const nodes = [makeNode('a'), makeNode('b')];
  const user = makeContainer('c', { mounts: [{ mountPath: '/d', volume: 'data' }] });
  assert.equal(place(user, nodes, [], [makeVolume('data', { status: { nodeName: 'b' } })]), 'b');
  assert.equal(place(user, nodes, [], [makeVolume('data', { nodeName: 'b' })]), 'b');
  const first = makeContainer('first', { nodeName: 'b', mounts: [{ mountPath: '/d', volume: 'data' }] });
  assert.equal(place(user, nodes, [first], [makeVolume('data')]), 'b');
  assert.match(
    place(user, [makeNode('a')], [], [makeVolume('data', { nodeName: 'b' })]),
    /did not hold volume data \(a: which is on b\)/,
  );
});

test('planPlacement() keeps Containers that share namespaces or volumes together', () => {
  const nodes = [makeNode('a'), makeNode('b')];
  const main = makeContainer('main', { nodeName: 'b' });
  assert.equal(place(makeContainer('c', { shareNamespaces: { network: 'main' } }), nodes, [main]), 'b');
  assert.equal(place(makeContainer('c', { volumesFrom: [{ container: 'main' }] }), nodes, [main]), 'b');
  assert.match(
    place(makeContainer('c', { shareNamespaces: { pid: 'later' } }), nodes),
    /had to wait for container later/,
  );
});

test('planPlacement() spreads a Service over nodes before it looks at load', () => {
  const nodes = [makeNode('a'), makeNode('b'), makeNode('c')];
  const replica = owned('s-4');
  const others = [makeContainer('x', { nodeName: 'c', resources: { requests: { cpu: 3 } } })];
  assert.equal(place(replica, nodes, [owned('s-1', 'a'), owned('s-2', 'b'), ...others]), 'c');
});

test('planPlacement() spreads over the values of a label', () => {
  const nodes = [
    makeNode('a', { labels: { zone: 'x' } }),
    makeNode('b', { labels: { zone: 'x' } }),
    makeNode('c', { labels: { zone: 'y' } }),
  ];
  const replica = owned('s-3');
  replica.spec.placement = { spread: ['zone'] };
  assert.equal(place(replica, nodes, [owned('s-1', 'a')]), 'c');
  assert.equal(place(replica, nodes, [owned('s-1', 'a'), owned('s-2', 'c')]), 'b');
});

test('planPlacement() respects maxPerNode', () => {
  const replica = owned('s-2');
  replica.spec.placement = { maxPerNode: 1 };
  assert.match(place(replica, [makeNode('a')], [owned('s-1', 'a')]), /already had 1 of its Service/);
});

test('planPlacement() chooses the least loaded node', () => {
  const busy = makeContainer('r', { nodeName: 'a', resources: { requests: { cpu: 2 } } });
  assert.equal(place(makeContainer('c'), [makeNode('a'), makeNode('b')], [busy]), 'b');
});

test('planPlacement() prefers a node that has the image, unless that is much busier', () => {
  const image = { ...makeImage('i', { reference: 'busybox' }), status: { nodes: ['b'] } };
  const nodes = [makeNode('a'), makeNode('b')];
  const busy = (cpu: string) => [makeContainer('r', { nodeName: 'b', resources: { requests: { cpu } } })];
  assert.equal(place(makeContainer('c'), nodes, busy('300m'), [], image), 'b');
  assert.equal(place(makeContainer('c'), nodes, busy('2'), [], image), 'a');
});

test('planPlacement() runs a built or imported image on nodes of its platform only', () => {
  const status = { platform: 'linux/arm64/v8' };
  const imported = { ...makeImage('i', { import: { hostPath: '/i.tar' } }), status };
  const pulled = { ...makeImage('i', { reference: 'busybox' }), status };
  const nodes = [
    makeNode('a', { labels: { 'kubernetes.io/arch': 'amd64', 'kubernetes.io/os': 'linux' } }),
    makeNode('b', { labels: { 'kubernetes.io/arch': 'arm64', 'kubernetes.io/os': 'linux' } }),
  ];
  assert.equal(place(makeContainer('c'), nodes, [], [], imported), 'b');
  assert.match(
    place(makeContainer('c'), nodes.slice(0, 1), [], [], imported),
    /1 node\(s\) had another platform than the image's linux\/arm64\/v8/,
  );
  assert.equal(place(makeContainer('c'), nodes, [], [], pulled), 'a');
});

test('planPlacement() respects the number of containers a node takes', () => {
  const node = makeNode('a', { allocatable: { pods: '1' } });
  assert.match(
    place(makeContainer('c'), [node], [makeContainer('r', { nodeName: 'a' })]),
    /had too many containers \(1 at most\)/,
  );
});

test('planPlacement() spreads 1,000 Containers evenly over 100 nodes', (t) => {
  const ledger = createLedger();
  for (let index = 0; index < 100; index += 1) ledger.setNode(makeNode(`n${index}`));
  const context: PlacementContext = {
    volume: () => undefined,
    network: () => undefined,
    container: () => undefined,
    imageOf: () => undefined,
    nodesOfVolume: () => [],
  };
  const pending = Array.from({ length: 1000 }, (_, index) =>
    makeContainer(`c${index}`, { resources: { requests: { cpu: '100m' } } }),
  );
  const startedAt = performance.now();
  for (const container of pending) {
    const placement = planPlacement(container, ledger.nodes(), context);
    assert.equal(placement.kind, 'bind');
    if (placement.kind === 'bind') ledger.assume(container, placement.nodeName);
  }
  assert.deepEqual([...new Set(ledger.nodes().map(({ claims }) => claims.size))], [10]);
  t.diagnostic(`decided 1,000 in ${Math.round(performance.now() - startedAt)} ms`);
});
