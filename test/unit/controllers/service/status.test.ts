import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordRevision } from '../../../../controllers/service/revision.ts';
import { REVISION_LABEL, SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import { planStatus } from '../../../../controllers/service/status.ts';
import { findUnsupportedField } from '../../../../controllers/service/unsupported.ts';
import { createVirtualIpAllocator } from '../../../../controllers/service/virtual-ips.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Service } from '../../../../crds/service.ts';
import { makeContainer, makeNetwork, makeService, NOW, readyCondition } from '../../../support/objects.ts';

function child(slot: number, ready: boolean, revision = 'new'): Container {
  return makeContainer(`web-${slot}`, {
    metadata: { labels: { [SLOT_LABEL]: String(slot), [REVISION_LABEL]: revision } },
    status: {
      conditions: [
        readyCondition(ready ? 'True' : 'False', ready ? {} : { reason: 'Unschedulable', message: 'no node' }),
      ],
    },
  });
}

function status(service: Service, children: Container[], conflicts: string[] = []) {
  const result = planStatus({
    service,
    children,
    revision: 'new',
    conflicts,
    virtualIPs: [],
    published: { held: [], conflicts: [] },
    now: NOW,
  }).status;
  const conditions = Object.fromEntries(
    (result.conditions ?? []).map((one) => [one.type, `${one.status} ${one.reason}: ${one.message}`]),
  );
  return { ...result, conditions };
}

test('planStatus() of a Service that has all it wants', () => {
  const result = status(makeService('web', { replicas: 2 }), [child(1, true), child(2, true)]);
  assert.deepEqual(
    [
      result.replicas,
      result.readyReplicas,
      result.updatedReplicas,
      result.availableReplicas,
      result.selector,
      result.currentRevision,
    ],
    [2, 2, 2, 2, 'windlass.dev/service=web', 'new'],
  );
  assert.deepEqual(result.conditions, {
    Available: 'True ReplicasAvailable: 2 of 2 available',
    Progressing: 'True Complete: 2 of 2 updated',
    Ready: 'True ReplicasReady: 2 of 2 Ready',
  });
});

test('planStatus() of 0 of 0 is Ready', () => {
  assert.equal(status(makeService('web', { replicas: 0 }), []).conditions['Ready'], 'True ReplicasReady: 0 of 0 Ready');
});

test('planStatus() names the first Container that is not Ready, and why', () => {
  const result = status(makeService('web', { replicas: 2 }), [child(1, true), child(2, false)]);
  assert.equal(
    result.conditions['Ready'],
    'False Unschedulable: 1 of 2 Ready; waiting for web-2 (Unschedulable, no node)',
  );
});

test('planStatus() keeps the current revision until the update is through', () => {
  const service = makeService('web', { replicas: 2, status: { currentRevision: 'old' } });
  const half = status(service, [child(1, true), child(2, true, 'old')]);
  assert.deepEqual([half.currentRevision, half.updateRevision], ['old', 'new']);
  assert.match(half.conditions['Progressing'] ?? '', /^True Updating: 1 of 2 updated/);
  assert.equal(status(service, [child(1, true), child(2, true)]).currentRevision, 'new');
});

test('planStatus() says which name is taken', () => {
  assert.match(
    status(makeService('web', { replicas: 1 }), [], ['web-1']).conditions['Progressing'] ?? '',
    /^False NameConflict: Container web-1 exists/,
  );
});

test('planStatus() does not touch lastTransitionTime while nothing turns', () => {
  const service = makeService('web', { replicas: 1 });
  const first = planStatus({
    service,
    children: [child(1, true)],
    revision: 'new',
    conflicts: [],
    virtualIPs: [],
    published: { held: [], conflicts: [] },
    now: NOW,
  }).status;
  const again = planStatus({
    service: { ...service, status: first },
    children: [child(1, true)],
    revision: 'new',
    conflicts: [],
    virtualIPs: [],
    published: { held: [], conflicts: [] },
    now: NOW + 60_000,
  });
  assert.deepEqual(again.status, first);
});

test('recordRevision() numbers templates, moves one that comes back to the end and forgets the oldest', () => {
  const { template } = makeService('web').spec;
  let revisions: ReturnType<typeof recordRevision> = [];
  for (const hash of ['a', 'a', 'b', 'a', 'c'])
    revisions = recordRevision(revisions, template, { hash, limit: 1, now: NOW });
  assert.deepEqual(
    revisions.map(({ revision, hash }) => `${revision}${hash}`),
    ['3a', '4c'],
  );
});

test('findUnsupportedField() names what is not built yet', () => {
  assert.equal(findUnsupportedField(makeService('web')), undefined);
  assert.equal(findUnsupportedField(makeService('web', { mode: 'Global' })), 'spec.mode: Global');
  assert.equal(findUnsupportedField(makeService('web', { rollbackTo: 1 })), 'spec.rollbackTo');
  assert.equal(findUnsupportedField(makeService('web', { autoscale: { maxReplicas: 3 } })), 'spec.autoscale');
});

test('allocate() gives each Service its own address before the cache shows the first, and keeps it', () => {
  const network = makeNetwork('default', { status: { subnets: [{ cidr: '10.128.0.0/24', gateway: '10.128.0.1' }] } });
  const services: Service[] = [];
  const allocator = createVirtualIpAllocator({ network: () => network, services: () => services });
  const [a, b] = [makeService('a'), makeService('b')];
  assert.deepEqual(allocator.allocate(a), [{ network: 'default', ip: '10.128.0.240' }]);
  assert.deepEqual(allocator.allocate(b), [{ network: 'default', ip: '10.128.0.241' }]);
  assert.deepEqual(allocator.allocate(a), [{ network: 'default', ip: '10.128.0.240' }]);
  services.push({ ...a, status: { virtualIPs: [{ network: 'default', ip: '10.128.0.240' }] } });
  allocator.release('uid-b');
  assert.deepEqual(allocator.allocate(makeService('c')), [{ network: 'default', ip: '10.128.0.241' }]);
});

test('allocate() gives nothing to DNSRR, to no network, and to a network without addresses', () => {
  const empty = createVirtualIpAllocator({ network: () => undefined, services: () => [] });
  assert.deepEqual(empty.allocate(makeService('a')), []);
  const network = makeNetwork('default', { status: { subnets: [{ cidr: '10.128.0.0/24' }] } });
  const allocator = createVirtualIpAllocator({ network: () => network, services: () => [] });
  assert.deepEqual(allocator.allocate(makeService('a', { endpointMode: 'DNSRR' })), []);
  assert.deepEqual(allocator.allocate(makeService('a', { template: { networks: [] } })), []);
});

test('allocate() stops when the block is used up', () => {
  const network = makeNetwork('default', { status: { subnets: [{ cidr: '10.128.0.0/24' }] } });
  const allocator = createVirtualIpAllocator({ network: () => network, services: () => [] });
  const given = Array.from({ length: 20 }, (_, index) => allocator.allocate(makeService(`s${index}`))).flat();
  assert.equal(new Set(given.map(({ ip }) => ip)).size, 15);
});
