// Which Container on which node a subresource of a Pod is about.
import { agentAddressOf, type AgentAddress } from '../../crds/agent-address.ts';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { SubresourceRequest } from '../resources/subresource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

export interface Target {
  readonly container: Container;
  readonly address: AgentAddress;
}

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' };
const NODES = { group: '', plural: 'nodes' };

/** Finds both; every way in which they can be absent has a message of its own. */
export async function findTarget(
  store: Pick<ResourceStore, 'get'>,
  { namespace, name, query, signal }: Pick<SubresourceRequest, 'namespace' | 'name' | 'query' | 'signal'>,
): Promise<Target> {
  const entry = await store.get(CONTAINERS, namespace, name, { signal });
  if (!entry) {
    throw new WindlassError('NotFound', `pods "${name}" not found`, { details: { name, kind: 'pods' } });
  }
  const container = entry.object as unknown as Container;
  const asked = query.get('container');
  if (asked && asked !== name) throw new WindlassError('BadRequest', `container ${asked} is not valid for pod ${name}`);
  const nodeName = container.spec.nodeName;
  if (!nodeName) {
    const ready = container.status?.conditions?.find(({ type }) => type === 'Ready');
    const why = ready?.message ? `: ${ready.message}` : '';
    throw new WindlassError('BadRequest', `pod ${name} does not have a host assigned${why}`);
  }
  const node = await store.get(NODES, '', nodeName, { signal });
  if (!node) throw new WindlassError('Unavailable', `node "${nodeName}" of pod ${name} is not in the cluster`);
  return { container, address: agentAddressOf(node.object as unknown as Node) };
}
