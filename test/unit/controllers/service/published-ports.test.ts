import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planPublishedPorts, portKeysOf } from '../../../../controllers/service/published-ports.ts';
import type { Node } from '../../../../crds/builtin.ts';
import { portConflictsAnnotation, portConflictsOf } from '../../../../controllers/runtime/port-conflicts.ts';
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

test('planPublishedPorts() names the nodes where somebody else has a port, while they live', () => {
  const node = (name: string, ready: string): Node =>
    ({
      metadata: {
        name,
        annotations: portConflictsAnnotation(new Map([['shop/web', 'port 8080/TCP is taken by process 812 (nginx)']])),
      },
      status: { conditions: [{ type: 'Ready', status: ready }] },
    }) as unknown as Node;
  const { held, conflicts } = planPublishedPorts(make('web', '01'), () => [], [
    node('n1', 'True'),
    node('n2', 'Unknown'),
  ]);
  assert.deepEqual(held, [{ port: 8080, protocol: 'TCP' }], 'other nodes go on');
  assert.deepEqual(conflicts, ['on node n1 port 8080/TCP is taken by process 812 (nginx)']);
});

test('portConflictsOf() takes nothing but what an agent writes', () => {
  const read = (text: string) =>
    [
      ...portConflictsOf({
        metadata: { name: 'n', annotations: { 'windlass.dev/port-conflicts': text } },
        status: { conditions: [{ type: 'Ready', status: 'True', reason: '', message: '' }] },
      }),
    ].length;
  assert.equal(portConflictsAnnotation(new Map())['windlass.dev/port-conflicts'], '');
  for (const text of ['', '{', 'null', '7', '"x"', '[1]', '{"a/b": 7}']) assert.equal(read(text), 0, text);
  assert.equal(read(JSON.stringify({ 'a/b': 'taken' })), 1);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`a/${index}`, 'taken']));
  assert.equal(read(JSON.stringify(many)), 100);
});
