// GET of nodes and pods of metrics.k8s.io/v1beta1: nothing is stored, the agents are asked. `kubectl top` reads it.
// https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { defineBuiltin } from '../resources/builtin/define.ts';
import { schemaOf } from '../resources/builtin/schemas.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import type { SubresourceHandler, SubresourceRequest } from '../resources/subresource.ts';
import { notFound } from '../routes/api-errors.ts';
import { parseFieldSelector, parseLabelSelector } from '../routes/selectors.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { collectUsage, type CollectDeps } from './collect-usage.ts';
import { METRICS_API, nodeMetrics, podMetrics } from './to-metrics.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const NODES = { group: '', plural: 'nodes' } as const;
/** What is at hand will do: usage is older than that anyway. */
const AT_HAND = { revision: 0 } as const;

export interface MetricsDeps extends CollectDeps {
  readonly store: Pick<ResourceStore, 'list'>;
}

const define = (kind: string, plural: string, namespaced: boolean): Resource =>
  defineBuiltin({
    group: 'metrics.k8s.io',
    version: 'v1beta1',
    kind,
    plural,
    // As upstream: `kubectl get pods` must not find two of the same singular.
    singular: '',
    namespaced,
    verbs: ['get', 'list'],
    schema: schemaOf('metrics.k8s.io', kind),
  });

/** NodeMetrics and PodMetrics, for discovery and documentation. */
export const metricsResources = (): Resource[] => [
  define('NodeMetrics', 'nodes', false),
  define('PodMetrics', 'pods', true),
];

/** What answers for them. */
export function metricsHandlers(deps: MetricsDeps): SubresourceHandler[] {
  const [nodes, pods] = metricsResources() as [Resource, Resource];
  return [
    handler(nodes, async ({ name, signal }) => {
      const asked = await listNodes(deps, (node) => name === '' || node.metadata.name === name);
      const reports = await collectUsage(deps, asked, signal);
      return asked.flatMap((node) => {
        const report = reports.get(node.metadata.name);
        return report ? [nodeMetrics(node, report.node)] : [];
      });
    }),
    handler(pods, async ({ namespace, name, query, signal }) => {
      const isAsked = parseLabelSelector(query.get('labelSelector') ?? '');
      const scope = namespace === '' ? {} : { namespace, ...(name === '' ? {} : { name }) };
      const { entries } = await deps.store.list(CONTAINERS, {
        ...AT_HAND,
        ...scope,
        filter: ({ object }) => isAsked(object),
      });
      const containers = new Map(
        entries.map(({ object }) => [object.metadata.uid ?? '', object as unknown as Container]),
      );
      const bound = new Set([...containers.values()].map(({ spec }) => spec.nodeName));
      const asked = await listNodes(deps, ({ metadata }) => bound.has(metadata.name));
      const reports = await collectUsage(deps, asked, signal);
      return [...reports].flatMap(([node, report]) => {
        // Each once, and only by the node that it is bound to: none has a say about the Containers of another one.
        const usages = new Map(report.containers.map((usage) => [usage.uid, usage]));
        return [...usages.values()].flatMap((usage) => {
          const container = containers.get(usage.uid);
          return container?.spec.nodeName === node ? [podMetrics(container, usage)] : [];
        });
      });
    }),
  ];
}

function handler(
  resource: Resource,
  measure: (request: SubresourceRequest) => Promise<StoredObject[]>,
): SubresourceHandler {
  const { group, version, plural, kind, listKind } = resource;
  return {
    group,
    version,
    plural,
    name: '',
    verbs: ['get', 'list'],
    async handle(request) {
      const measured = await measure(request);
      const answer = (body: unknown) => ({
        status: 200,
        contentType: 'application/json',
        body: JSON.stringify(body),
      });
      if (request.name !== '') {
        const [found] = measured;
        if (!found) throw notFound({ group, plural: kind.toLowerCase() }, request.name);
        return answer(found);
      }
      const labels = parseLabelSelector(request.query.get('labelSelector') ?? '');
      const { matches } = parseFieldSelector(request.query.get('fieldSelector') ?? '', resource);
      const items = measured.filter((object) => labels(object) && matches(object)).toSorted(byName);
      return answer({ kind: listKind, apiVersion: METRICS_API, metadata: {}, items });
    },
  };
}

async function listNodes({ store }: MetricsDeps, isAsked: (node: Node) => boolean): Promise<Node[]> {
  const { entries } = await store.list(NODES, AT_HAND);
  return entries.map(({ object }) => object as unknown as Node).filter(isAsked);
}

const keyOf = ({ metadata }: StoredObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;
const byName = (a: StoredObject, b: StoredObject): number => (keyOf(a) < keyOf(b) ? -1 : 1);
