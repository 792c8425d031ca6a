import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Revision } from '../../../../controllers/service/revision.ts';
import { REVISION_LABEL, SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import { findUnsupportedField } from '../../../../controllers/service/unsupported.ts';
import { planStatus } from '../../../../controllers/service/status.ts';
import type { Update, UpdateDecision } from '../../../../controllers/service/update-state.ts';
import { createVirtualIpAllocator } from '../../../../controllers/service/virtual-ips.ts';
import { wantedSlots } from '../../../../controllers/service/wanted-slots.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Service } from '../../../../crds/service.ts';
import { makeContainer, makeNetwork, makeService, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

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

interface Input {
  readonly conflicts?: string[];
  readonly exhausted?: string[];
  readonly update?: Partial<Update>;
  readonly decision?: Partial<UpdateDecision>;
  readonly now?: number;
}

const REVISIONS = ['old', 'new'].map((hash, index) => ({
  revision: index + 1,
  hash,
  createdAt: secondsAgo(9),
  template: {},
}));

function statusOf(
  service: Service,
  children: Container[],
  { conflicts = [], exhausted = [], update, decision, now = NOW }: Input = {},
) {
  const [before, newest] = REVISIONS as [Revision, Revision];
  const state: Update = {
    phase: 'Completed',
    revision: 2,
    fromRevision: 1,
    settings: '',
    startedAt: secondsAgo(1000),
    updatedSlots: '',
    failedSlots: '',
    message: '',
    ...update,
  };
  return planStatus({
    service,
    children,
    wanted: wantedSlots(service, [], children),
    decision: { update: state, target: newest, fallback: before, ...decision },
    history: REVISIONS,
    conflicts,
    exhausted,
    virtualIPs: [],
    published: { held: [], conflicts: [] },
    now,
  });
}

function status(service: Service, children: Container[], input: Input = {}) {
  const result = statusOf(service, children, input).status;
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
    Updated: 'True Complete: revision 2 is complete',
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

test('planStatus() names the first in the order of the slots, however many there are', () => {
  const replicas = 2_000;
  const children = Array.from({ length: replicas }, (_, index) => child(replicas - index, index === replicas - 1));
  const result = status(makeService('web', { replicas }), children);
  assert.match(result.conditions['Ready'] ?? '', /1 of 2000 Ready; waiting for web-2 /);
});

test('planStatus() keeps the current revision until the update is through', () => {
  const service = makeService('web', { replicas: 2, status: { currentRevision: 'old' } });
  const half = status(service, [child(1, true), child(2, true, 'old')], { update: { phase: 'Updating' } });
  assert.deepEqual([half.currentRevision, half.updateRevision], ['old', 'new']);
  assert.match(half.conditions['Progressing'] ?? '', /^True Updating: 1 of 2 updated/);
  assert.match(half.conditions['Updated'] ?? '', /^False Updating: 1 of 2 updated/);
  assert.equal(status(service, [child(1, true), child(2, true)]).currentRevision, 'new');
});

test('planStatus() says how far an update is and what it waits for', () => {
  const told = (web4: Partial<Container>, update: Partial<Update> = {}, spec: object = {}): string => {
    const service = makeService('web', { replicas: 5, ...spec });
    const children = [1, 2, 3].map((slot) => child(slot, true));
    const four = { ...child(4, false), ...web4 };
    return status(service, [...children, four, child(5, true, 'old')], { update: { phase: 'Updating', ...update } })
      .conditions['Progressing'] as string;
  };
  const ready = (value: 'True' | 'False', options: object): Partial<Container> => ({
    status: { conditions: [readyCondition(value, options)] },
  });
  assert.equal(
    told(ready('False', { reason: 'Starting', message: 'waiting for the first healthy check' })),
    'True Updating: 3 of 5 updated, waiting for health of web-4',
  );
  assert.equal(
    told(ready('False', { reason: 'Unschedulable', message: 'no node' })),
    'True Updating: 3 of 5 updated, waiting for web-4 (Unschedulable, no node)',
  );
  assert.equal(
    told(ready('True', { seconds: 2 })),
    'True Updating: 4 of 5 updated, watching web-4 until 2026-01-01T00:00:03Z',
  );
  const leaving = child(4, true, 'old');
  leaving.metadata.deletionTimestamp = secondsAgo(1);
  assert.equal(told(leaving), 'True Updating: 3 of 5 updated, waiting for web-4 to stop');
  assert.equal(
    told(ready('False', { reason: 'BackOff' }), {
      phase: 'Paused',
      message: 'web-4 (BackOff, exited with code 1) failed',
    }),
    'False UpdatePaused: revision 2: 3 of 5 updated, paused: web-4 (BackOff, exited with code 1) failed',
  );
  assert.equal(
    told(ready('False', { reason: 'Starting' }), { phase: 'RollingBack', message: 'revision 3: web-1 failed' }),
    'True RollingBack: 3 of 5 back at revision 2, waiting for health of web-4; revision 3: web-1 failed',
  );
});

test('planStatus() says that an unknown revision is asked for, and that StartFirst cannot be', () => {
  const service = makeService('web', {
    replicas: 1,
    updateStrategy: { order: 'StartFirst' },
    template: { mounts: [{ mountPath: '/d', volume: 'db' }] },
  });
  const refusal = 'spec.rollbackTo: there is no revision 9, only 1, 2';
  const { conditions } = status(service, [child(1, true)], { decision: { refusal } });
  const note = 'StartFirst works as StopFirst, as volume db is held by one container at a time';
  assert.equal(conditions['Progressing'], `False RevisionNotFound: ${refusal}; ${note}`);
  assert.equal(conditions['Updated'], `False RevisionNotFound: ${refusal}; ${note}`);
});

test('planStatus() says which name is taken', () => {
  assert.match(
    status(makeService('web', { replicas: 1 }), [], { conflicts: ['web-1'] }).conditions['Progressing'] ?? '',
    /^False NameConflict: Container web-1 exists/,
  );
});

test('planStatus() does not touch lastTransitionTime while nothing turns', () => {
  const service = makeService('web', { replicas: 1 });
  const first = statusOf(service, [child(1, true)]).status;
  const again = statusOf({ ...service, status: first }, [child(1, true)], { now: NOW + 60_000 });
  assert.deepEqual(again.status, first);
});

test('findUnsupportedField() names a published port that can have no header', () => {
  const ask = (protocol: string, publishedPort?: number) =>
    findUnsupportedField(
      makeService('web', { clientAddress: 'ProxyProtocol', ports: [{ port: 53, protocol, publishedPort }] as never }),
    );
  assert.equal(findUnsupportedField(makeService('web')), undefined);
  assert.equal(ask('TCP', 5353), undefined);
  assert.equal(ask('UDP'), undefined);
  assert.equal(ask('UDP', 5353), 'spec.clientAddress: ProxyProtocol, with the published UDP port 5353,');
});

test('findUnsupportedField() refuses sessionAffinity beside clientAddress: ProxyProtocol on a published port', () => {
  const ask = (change: object) => findUnsupportedField(makeService('web', change));
  const [affine, published] = [{ sessionAffinity: 'ClientIP' }, { ports: [{ port: 80, publishedPort: 8080 }] }];
  const relayed = { clientAddress: 'ProxyProtocol' };
  const refused = 'spec.clientAddress: ProxyProtocol, with spec.sessionAffinity: ClientIP and a published port,';
  assert.equal(ask({ ...affine, ...published, ...relayed }), refused);
  assert.equal(ask({ ...affine, ...published }), undefined);
  assert.equal(ask({ ...affine, ...relayed, ports: [{ port: 80 }] }), undefined);
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
  assert.deepEqual(allocator.exhausted(makeService('s1')), []);
  assert.deepEqual(allocator.exhausted(makeService('late')), ['default']);
  assert.deepEqual(allocator.exhausted(makeService('late', { endpointMode: 'DNSRR' })), []);
});

test('planStatus() is not Ready without a virtual address, and names the network', () => {
  const { conditions } = status(makeService('web', { replicas: 1 }), [child(1, true)], { exhausted: ['default'] });
  assert.match(
    conditions['Ready'] ?? '',
    /^False VirtualIPsExhausted: 1 of 1 Ready; no virtual address is left on network default: /,
  );
});
