import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createServiceTablesReconciler,
  type ServiceTablesDeps,
} from '../../../../../controllers/node-agent/networks/service-tables-controller.ts';
import type { Container } from '../../../../../crds/container.ts';
import { INGRESS_NETWORK, type Network } from '../../../../../crds/network.ts';
import { ServiceSpec, type Service } from '../../../../../crds/service.ts';
import { systemClock as clock } from '../../../../../lib/clock.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { makeContainer } from '../make.ts';

const log = silentLogger();
const ownerReferences = [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'api', uid: 'svc', controller: true }];

function member(slot: number, nodeName: string, metadata: object = {}, spec: object = {}): Container {
  return makeContainer(
    { nodeName, ...spec },
    {
      metadata: {
        ...{ name: `api-${slot}`, uid: `m${slot}`, resourceVersion: `${100 + slot}`, ownerReferences },
        labels: { 'windlass.dev/service': 'api' },
        ...metadata,
      },
      status: {
        networks: [{ name: 'default', ipv4Address: `10.128.0.${slot}` }],
        conditions: [
          {
            ...{ type: 'Ready', status: 'True', reason: 'x', message: '' },
            lastTransitionTime: '2026-01-01T00:00:00Z',
          },
        ],
      },
    },
  );
}

const service: Service = {
  ...{ apiVersion: 'windlass.dev/v1', kind: 'Service', metadata: { name: 'api', namespace: 'shop', uid: 'svc' } },
  spec: ServiceSpec.parse({ template: { spec: { image: 'x' } }, ports: [{ port: 80, publishedPort: 8000 }] }),
  status: { publishedPorts: [{ port: 8000, protocol: 'TCP' }] },
};
const ingress = {
  metadata: INGRESS_NETWORK,
  spec: { driver: 'overlay' },
  status: {
    nodes: [1, 2].map((n) => ({
      ...{ name: `n${n}`, ipv4Address: `10.255.0.${n}`, macAddress: `0a:00:0a:ff:00:0${n}` },
      underlayIP: `192.0.2.${n}`,
    })),
  },
} as unknown as Network;

const lister = <T extends { metadata: { name: string } }>(items: readonly T[]) => ({
  list: () => items,
  get: (_: string, name: string) => items.find(({ metadata }) => metadata.name === name),
});

const started = member(3, 'n1');
const starting = { ...started, status: { ...started.status, conditions: [] } };
const leaving = member(1, 'n1', { deletionTimestamp: '2026-01-01T00:00:00Z' });

/** Of a node with one that leaves and one that starts, and a successor of it on another node. */
function setUp(runtime: Partial<ServiceTablesDeps['runtime']> = {}, change: Partial<ServiceTablesDeps> = {}) {
  const calls: string[] = [];
  const note =
    <T>(name: string, result: T) =>
    async (): Promise<T> => {
      calls.push(name);
      return result;
    };
  const tables = createServiceTablesReconciler({
    ...{ clock, log, nodeName: 'n1', recordConflict: () => undefined, onConflicts: () => undefined },
    isSynced: () => true,
    cluster: {
      services: lister([service]),
      networks: lister([ingress]),
      containers: lister([leaving, starting]),
      endpoints: lister([member(2, 'n2')]),
    } as never,
    networks: { ensure: async () => ({ state: 'Ready' }) } as never,
    runtime: {
      setNames: note('setNames', undefined),
      setServices: note('setServices', []),
      awaitPeers: (revision) => note(`awaitPeers ${revision}`, [])(),
      ...runtime,
    },
    ...change,
  });
  return { tables, calls };
}

const options = () => ({ signal: new AbortController().signal, log });

test('retire() tells the tables, and waits for those of the other nodes', async () => {
  const { tables, calls } = setUp();
  await tables.retire(leaving, options());
  assert.deepEqual(calls, ['awaitPeers 0', 'setNames', 'setServices', 'awaitPeers 101']);
});

test('retire() goes on to the stop when the runtime fails', async () => {
  const fail = async (): Promise<never> => {
    throw new Error('EMFILE');
  };
  await setUp({ setServices: fail }).tables.retire(leaving, options());
  const waits = setUp({ awaitPeers: async (revision) => (revision === 0 ? [] : fail()) });
  await waits.tables.retire(leaving, options());
  assert.deepEqual(waits.calls, ['setNames', 'setServices']);
  const { tables } = setUp({ setNames: fail, setServices: fail, awaitPeers: fail });
  await tables.retire(leaving, options());
  await assert.rejects(tables.reconcile('tables', options()), /EMFILE/, 'it is tried again');
});

test('retire() ends with its signal', async () => {
  const { tables, calls } = setUp();
  const signal = AbortSignal.abort();
  await assert.rejects(tables.retire(leaving, { signal, log }), { name: 'AbortError' });
  assert.deepEqual(calls, []);
});

test('retire() and admit() tell nothing before the cluster is known', async () => {
  let isSynced = true;
  const { tables, calls } = setUp({}, { isSynced: () => isSynced });
  await tables.reconcile('tables', options());
  calls.length = 0;
  isSynced = false;
  await tables.admit(started, options());
  await tables.retire(leaving, options());
  assert.deepEqual(calls, ['awaitPeers 101']);
  isSynced = true;
  await tables.admit(started, options());
  assert.deepEqual(calls, ['awaitPeers 101', 'setNames', 'setServices']);
});

test('admit() takes back what the cluster never heard of', async () => {
  const told: number[] = [];
  const { tables } = setUp({
    setServices: async ([one]) => {
      told.push(one?.ports.at(-1)?.backends.filter(({ isDraining }) => !isDraining).length ?? 0);
      return [];
    },
  });
  await tables.reconcile('tables', options());
  await tables.admit(started, options());
  await tables.admit(starting, options());
  assert.deepEqual(told, [1, 2, 1]);
});
