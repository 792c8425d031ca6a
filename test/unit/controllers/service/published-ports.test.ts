import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planPublishedPorts, portKeysOf } from '../../../../controllers/service/published-ports.ts';
import { ServiceSpec, type Service } from '../../../../crds/service.ts';

function make(name: string, created: string, held: readonly number[] = [], ports: readonly object[] = [{}]): Service {
  return {
    apiVersion: 'windlass.dev/v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop', uid: name, creationTimestamp: `2026-01-01T00:00:${created}Z` },
    spec: ServiceSpec.parse({
      template: { spec: { image: 'x' } },
      ports: ports.map((port, index) => ({ name: `p${index}`, port: 80, publishedPort: 8080, ...port })),
    }),
    status: { publishedPorts: held.map((port) => ({ port, protocol: 'TCP' as const })) },
  };
}

function plan(service: Service, ...all: Service[]): string {
  const find = (key: string) => all.filter((one) => portKeysOf(one).includes(key));
  const { held, conflicts } = planPublishedPorts(service, find);
  return [...held.map(({ port, protocol }) => `${port}/${protocol}`), ...conflicts].join('; ');
}

test('planPublishedPorts() leaves a port with who has it, and gives a free one to the older Service', () => {
  const [old, young] = [make('old', '01'), make('young', '02')];
  assert.equal(plan(old, old, young), '8080/TCP');
  assert.equal(plan(young, old, young), 'port 8080/TCP is published by Service shop/old');
  const holder = make('young', '02', [8080]);
  assert.equal(plan(holder, old, holder), '8080/TCP');
  assert.equal(plan(old, old, holder), 'port 8080/TCP is published by Service shop/young');
  const both = make('old', '01', [8080]);
  assert.equal(plan(holder, both, holder), 'port 8080/TCP is published by Service shop/old');
  assert.equal(plan(young, young), '8080/TCP');
});

test('planPublishedPorts() tells protocols and modes apart, and frees what a deleted Service had', () => {
  const old = make('old', '01', [8080], [{ protocol: 'UDP' }]);
  assert.equal(plan(make('a', '02'), old), '8080/TCP');
  const [host, another] = ['01', '02'].map((created) => make(`host${created}`, created, [], [{ mode: 'Host' }]));
  assert.equal(plan(another as Service, host as Service), '', 'two on different nodes');
  assert.equal(plan(make('a', '02'), host as Service), 'port 8080/TCP is published by Service shop/host01');
  assert.equal(plan(host as Service, make('a', '00', [8080])), 'port 8080/TCP is published by Service shop/a');
  const going = make('old', '01', [8080]);
  going.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  assert.equal(plan(make('a', '02'), going), '8080/TCP');
});
