import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAdmissions, hasSuccessor } from '../../../../../controllers/node-agent/networks/endpoint-moves.ts';
import { buildServiceTables } from '../../../../../controllers/node-agent/networks/service-tables.ts';
import type { Container } from '../../../../../crds/container.ts';
import { ServiceSpec, type Service } from '../../../../../crds/service.ts';
import { makeContainer } from '../make.ts';

const ownerReferences = [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'api', uid: 'svc', controller: true }];

function member(slot: number, { nodeName = 'n1', ready = true, metadata = {} } = {}): Container {
  const Ready = { type: 'Ready', status: ready ? 'True' : 'False', reason: 'x', message: '' } as const;
  return makeContainer(
    { nodeName },
    {
      metadata: {
        ...{ name: `api-${slot}`, uid: `m${slot}`, resourceVersion: `${100 + slot}`, ownerReferences },
        labels: { 'windlass.dev/service': 'api' },
        ...metadata,
      },
      status: {
        networks: [{ name: 'default', ipv4Address: `10.128.0.${slot}` }],
        conditions: [{ ...Ready, lastTransitionTime: '2026-01-01T00:00:00Z' }],
      },
    },
  );
}
const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' };
const service = (change: Partial<Service['metadata']> = {}, spec: object = {}): Service => ({
  apiVersion: 'windlass.dev/v1',
  kind: 'Service',
  metadata: { name: 'api', namespace: 'shop', uid: 'svc', ...change },
  spec: ServiceSpec.parse({ template: { spec: { image: 'x' } }, ports: [{ port: 80, publishedPort: 8000 }], ...spec }),
  status: { publishedPorts: [{ port: 8000, protocol: 'TCP' }] },
});
const lister = <T extends { metadata: { name: string } }>(items: readonly T[]) => ({
  ...{ list: () => items, get: (_: string, name: string) => items.find(({ metadata }) => metadata.name === name) },
});
const clusterOf = (one: Service | undefined, containers: readonly Container[]) =>
  ({
    services: lister(one ? [one] : []),
    containers: lister(containers.filter(({ spec }) => spec.nodeName === 'n1')),
    endpoints: lister(containers.filter(({ spec }) => spec.nodeName !== 'n1')),
  }) as never;

test('createAdmissions() holds a Container for Ready from when its node says so until the cluster does', () => {
  const admissions = createAdmissions();
  const [starting, running] = [member(1, { ready: false }), member(1)];
  assert.equal(admissions.note(running, lister([starting])), true, 'news');
  assert.deepEqual(admissions.apply([starting]), [running]);
  assert.deepEqual(admissions.apply([running]), [running]);
  assert.deepEqual(admissions.apply([starting]), [starting], 'known once, it is as the cluster says');
  assert.equal(admissions.note(running, lister([starting])), true);
  assert.equal(
    admissions.note(starting, lister([starting])),
    true,
    'not Ready any more, and the cluster never heard of it',
  );
  assert.equal(admissions.note(starting, lister([starting])), false, 'no news');
  assert.deepEqual(admissions.apply([starting]), [starting]);
  assert.equal(admissions.note(running, lister([running])), false, 'no news');
  assert.equal(admissions.note(member(1, { metadata: { labels: {} } }), lister([])), false, 'of no Service');
});

test('hasSuccessor() is true where another one of the Service is Ready, and the Service goes on', () => {
  const leaving = member(1, { metadata: deleted });
  const other = member(2, { nodeName: 'n2' });
  assert.equal(hasSuccessor(clusterOf(service(), [leaving, other]), 'n1', leaving), true);
  for (const [why, one, containers] of [
    ['alone', service(), [leaving]],
    ['the other is not Ready', service(), [leaving, member(2, { ready: false })]],
    ['the other leaves as well', service(), [leaving, member(2, { metadata: deleted })]],
    ['the other only has the label', service(), [leaving, member(2, { metadata: { ownerReferences: [] } })]],
    ['the Service is being deleted', service(deleted), [leaving, other]],
    ['the Service has no ports', service({}, { ports: [] }), [leaving, other]],
    ['there is no Service', undefined, [leaving, other]],
  ] as const)
    assert.equal(hasSuccessor(clusterOf(one, containers), 'n1', leaving), false, why);
});

test('buildServiceTables() keeps one of this node that is about to stop apart, and says as of which version', () => {
  const members = [
    member(1, { metadata: { ...deleted, resourceVersion: '800' } }),
    member(2, { nodeName: 'n2', metadata: deleted }),
    member(3, { metadata: { ...deleted, ownerReferences: [], resourceVersion: '900' } }),
  ];
  const input = { services: [service()], containers: members, networks: [], nodeName: 'n1' };
  const tables = buildServiceTables({ ...input, canDrain: true });
  assert.deepEqual(tables.services[0]?.ports[0]?.backends, [
    { id: '10.128.0.1:80', ip: '10.128.0.1', port: 80, isRemote: false, isDraining: true },
  ]);
  const plain = buildServiceTables({ ...input, canDrain: false });
  assert.deepEqual(plain.services[0]?.ports[0]?.backends, [], 'not for a runtime that would take it for any other');
  assert.equal(tables.revision, 102, 'of members elsewhere alone');
});
