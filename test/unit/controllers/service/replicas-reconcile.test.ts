import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceDeps } from '../../../../controllers/service/reconcile.ts';
import { reconcileReplicas } from '../../../../controllers/service/replicas-reconcile.ts';
import type { Container } from '../../../../crds/container.ts';
import { serviceKind, type Service, type ServiceSpecInput } from '../../../../crds/service.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { makeService, readyCondition } from '../../../support/objects.ts';
import { createMemoryClient } from '../../client/memory-client.ts';

const SERVICE = 'services/default/web';

function setUp(spec: Partial<ServiceSpecInput>) {
  const client = createMemoryClient();
  client.objects.set(SERVICE, makeService('web', { replicas: 2, updateStrategy: { monitorSeconds: 0 } }));
  const told: string[] = [];
  const lacking: string[] = [];
  const children = (): Container[] =>
    [...client.objects].filter(([key]) => key.startsWith('containers/')).map(([, object]) => object as Container);
  const nothing = { get: () => undefined, list: () => [], synced: async () => {}, subscribe: () => () => {} };
  const deps: ServiceDeps = {
    client,
    services: nothing,
    containers: nothing,
    nodes: { list: () => [] },
    childrenOf: { get: children },
    runsOf: { get: () => [] },
    virtualIps: { allocate: () => [], release: () => {}, exhausted: () => lacking },
    healed: new Map(),
    written: new Map(),
    writtenAt: new Map(),
    findPlace: () => undefined,
    servicesByPort: { get: () => [] },
    nodesInConflict: { get: () => [] },
    events: { record: (_, { type, reason }) => void told.push(`${type} ${reason}`) },
    clock: createFakeClock(),
  };
  const stored = (): Service => client.objects.get(SERVICE) as Service;
  const write = (change: Partial<ServiceSpecInput>): Promise<Service> =>
    client.kind(serviceKind).mergePatch('web', 'default', { spec: change });
  return {
    client,
    told,
    lacking,
    stored,
    write,
    names: () => children().map(({ metadata, spec: { image } }) => `${metadata.name} ${image}`),
    /** One look at the Service as it is, or as a cache that is behind shows it. */
    look: (seen = stored()) => reconcileReplicas(deps, seen, new AbortController().signal),
    become: (name: string, status: 'True' | 'False', reason: string): void => {
      const key = `containers/default/${name}`;
      const conditions = [readyCondition(status, { reason })];
      client.objects.set(key, { ...client.objects.get(key), status: { conditions } } as unknown as Container);
    },
    start: () => write(spec),
  };
}
const image = (name: string) => ({ template: { spec: { image: name } } });

test('reconcileReplicas() creates, updates, and says so', async () => {
  const { look, become, write, names, stored, told, start } = setUp({ replicas: 1 });
  await start();
  await look();
  assert.deepEqual(names(), ['web-1 busybox']);
  become('web-1', 'True', 'Running');
  await look();
  assert.equal(stored().status?.update?.phase, 'Completed');
  await write(image('two'));
  await look();
  assert.deepEqual(names(), []);
  await look();
  assert.deepEqual(names(), ['web-1 two']);
  become('web-1', 'True', 'Running');
  await look();
  const { update, currentRevision, updateRevision, revisions } = stored().status ?? {};
  assert.deepEqual([update?.phase, update?.revision, currentRevision === updateRevision], ['Completed', 2, true]);
  assert.deepEqual(
    revisions?.map(({ revision }) => revision),
    [1, 2],
  );
  assert.deepEqual(
    told.filter((event) => !/Successful/.test(event)),
    ['Normal Complete', 'Normal Updating', 'Normal Complete'],
  );
});

test('reconcileReplicas() does not forget a failure because its cache is behind', async () => {
  const { look, become, write, names, stored, start, client } = setUp({ replicas: 2 });
  await start();
  await look();
  for (const name of ['web-1', 'web-2']) become(name, 'True', 'Running');
  await look();
  await write(image('two'));
  await look();
  await look();
  assert.deepEqual(names(), ['web-2 busybox', 'web-1 two']);
  const behind = stored();
  become('web-1', 'False', 'BackOff');
  client.calls.length = 0;
  await look(behind);
  assert.equal(stored().status?.update?.phase, 'Paused');
  assert.equal(client.calls[0], 'patch services/default/web', 'written before anything else is done');
  become('web-1', 'True', 'Running');
  await look(behind);
  assert.deepEqual([stored().status?.update?.phase, names()], ['Paused', ['web-2 busybox', 'web-1 two']]);
});

test('reconcileReplicas() gives each slot its Volume before its Container', async () => {
  const { look, client, start, write } = setUp({ replicas: 1, volumeTemplates: [{ name: 'data' }] });
  await start();
  const template = { spec: { mounts: [{ mountPath: '/data', volume: 'data' }] } };
  await write({ template });
  await look();
  assert.deepEqual(
    client.calls.filter((call) => call.startsWith('create')),
    ['create volumes/default/data-web-1', 'create containers/default/web-1'],
  );
  const [mount] = (client.objects.get('containers/default/web-1') as Container).spec.mounts ?? [];
  assert.equal(mount?.volume, 'data-web-1');
});

test('reconcileReplicas() of a Service of thousands looks again every 500, and so hears of a change of mind', async () => {
  const { look, names, start, write, client } = setUp({ replicas: 1200 });
  await start();
  assert.deepEqual([await look(), names().length], [{ requeueAfterMs: 1 }, 500]);
  assert.deepEqual([await look(), names().length], [{ requeueAfterMs: 1 }, 1000]);
  await write({ replicas: 100 });
  client.calls.length = 0;
  assert.deepEqual([await look(), names().length], [{ requeueAfterMs: 1 }, 500]);
  await look();
  assert.equal(names().length, 100);
  assert.deepEqual(
    client.calls.filter((call) => call.startsWith('create')),
    [],
  );
});

test('reconcileReplicas() looks again for a virtual address as long as there is none', async () => {
  const { look, start, lacking, stored } = setUp({ replicas: 0 });
  await start();
  lacking.push('tiny');
  assert.deepEqual(await look(), { requeueAfterMs: 5_000 });
  assert.equal(findReady(stored())?.reason, 'VirtualIPsExhausted');
  lacking.pop();
  assert.deepEqual(await look(), {});
  assert.equal(findReady(stored())?.status, 'True');
});

const findReady = ({ status }: Service) => status?.conditions?.find(({ type }) => type === 'Ready');
