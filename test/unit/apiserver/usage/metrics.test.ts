import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { metricsHandlers } from '../../../../apiserver/usage/metrics-handlers.ts';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import type { Entry } from '../../../../apiserver/storage/resource-store.ts';
import type { Node } from '../../../../crds/builtin.ts';
import type { Container } from '../../../../crds/container.ts';
import type { UsageReport } from '../../../../crds/usage.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { makeContainer, makeNode, NOW } from '../../../support/objects.ts';

const AT = { atMs: NOW, windowMs: 15_000 };
const use = (name: string, uid = `uid-${name}`): UsageReport['containers'][number] => ({
  ...{ namespace: 'default', name, uid, cpuCores: 0.25, memoryBytes: 2 ** 20 },
  ...AT,
});
const REPORT: UsageReport = { node: { cpuCores: 1.5, memoryBytes: 2 ** 30, ...AT }, containers: [use('b'), use('a')] };

/** Node `n1` answers with a report, `n2` with an error, `n3` has not said where it is. */
function makeHandlers(report: UsageReport = REPORT) {
  const reachable = (name: string): Node => {
    const node = makeNode(name);
    node.status = {
      ...node.status,
      addresses: [{ type: 'InternalIP', address: name }],
      daemonEndpoints: { kubeletEndpoint: { Port: 1 } },
    };
    return node;
  };
  const containers: Container[] = [
    makeContainer('a', { nodeName: 'n1', metadata: { labels: { app: 'web' } } }),
    makeContainer('b', { nodeName: 'n1' }),
    makeContainer('far', { nodeName: 'n2' }),
  ];
  const asked: string[] = [];
  const handlers = metricsHandlers({
    store: {
      list: async ({ plural }, options = {}) => {
        const all = plural === 'nodes' ? [reachable('n1'), reachable('n2'), makeNode('n3')] : containers;
        const entries = (all as unknown as StoredObject[])
          .filter(({ metadata }) => options.name === undefined || options.name === metadata.name)
          .map((object) => ({ object }) as Entry)
          .filter((entry) => options.filter?.(entry) ?? true);
        return { entries, revision: 1 };
      },
    },
    agents: {
      get: async ({ nodeName }) => {
        asked.push(nodeName);
        const statusCode = nodeName === 'n1' ? 200 : 503;
        return Object.assign(Readable.from([Buffer.from(JSON.stringify(report))]), {
          statusCode,
        }) as unknown as IncomingMessage;
      },
    },
    log: silentLogger(),
  });
  const get = async (plural: string, { name = '', namespace = '', query = '' } = {}) => {
    const answer = await handlers
      .find((handler) => handler.plural === plural)
      ?.handle?.({
        ...{ user: { name: 'admin', groups: [] }, method: 'GET', namespace, name, headers: {}, body: Buffer.alloc(0) },
        query: new URLSearchParams(query),
        signal: new AbortController().signal,
      });
    return JSON.parse(answer?.body as string) as StoredObject & { items: StoredObject[] };
  };
  return { get, asked };
}

test('NodeMetrics are of the nodes that answer', async () => {
  const { get } = makeHandlers();
  const list = await get('nodes');
  assert.equal(list.kind, 'NodeMetricsList');
  assert.deepEqual(list.items, [
    {
      apiVersion: 'metrics.k8s.io/v1beta1',
      kind: 'NodeMetrics',
      metadata: { name: 'n1', creationTimestamp: '2026-01-01T00:00:00Z', labels: {} },
      timestamp: '2026-01-01T00:00:00Z',
      window: '15.000s',
      usage: { cpu: '1500000000n', memory: '1048576Ki' },
    },
  ]);
  await assert.rejects(get('nodes', { name: 'n2' }), { message: 'nodemetrics.metrics.k8s.io "n2" not found' });
});

test('PodMetrics are in order, by label if asked, and only nodes that run what is asked for are asked', async () => {
  const { get, asked } = makeHandlers();
  const names = ({ items }: { items: StoredObject[] }): string[] => items.map(({ metadata }) => metadata.name);
  assert.deepEqual(names(await get('pods')), ['a', 'b']);
  assert.deepEqual(asked.splice(0).toSorted(), ['n1', 'n2']);
  assert.deepEqual(names(await get('pods', { namespace: 'default', query: 'labelSelector=app%3Dweb' })), ['a']);
  assert.deepEqual(names(await get('pods', { query: 'fieldSelector=metadata.name%3Db' })), ['b']);
  assert.deepEqual(asked.splice(0).toSorted(), ['n1', 'n1', 'n2']);
  const one = await get('pods', { namespace: 'default', name: 'a' });
  assert.deepEqual(one['containers'], [{ name: 'a', usage: { cpu: '250000000n', memory: '1024Ki' } }]);
  assert.deepEqual(asked, ['n1']);
  await assert.rejects(get('pods', { namespace: 'default', name: 'far' }), { reason: 'NotFound' });
});

test('PodMetrics are never of a predecessor of the same name', async () => {
  const { get } = makeHandlers({ ...REPORT, containers: [use('a', 'uid-of-before')] });
  assert.deepEqual((await get('pods')).items, []);
});

test('a node has no say about the Containers of another one, and says each once', async () => {
  const { get } = makeHandlers({ ...REPORT, containers: [use('far'), use('a'), use('a')] });
  assert.deepEqual(
    (await get('pods')).items.map(({ metadata }) => metadata.name),
    ['a'],
  );
});

test('a report that cannot be, or has no end, is no report, and spoils nothing else', async () => {
  const wrong: Partial<UsageReport['node']>[] = [{ atMs: 1e300 }, { cpuCores: -1 }, { memoryBytes: 1e300 }];
  for (const part of wrong) {
    const { get } = makeHandlers({ ...REPORT, node: { ...REPORT.node, ...part } });
    assert.deepEqual((await get('nodes')).items, [], JSON.stringify(part));
  }
  const { get } = makeHandlers({ ...REPORT, containers: [use('a', 'x'.repeat(5 * 1024 * 1024))] });
  assert.deepEqual((await get('nodes')).items, []);
});
