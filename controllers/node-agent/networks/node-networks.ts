// The Networks that containers of this node are on, made true by the runtime.
import type { Network } from '../../../crds/network.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Lister } from '../cluster.ts';
import { canonicalJson } from '../container/spec-hash.ts';
import type { Need } from '../container/prepared.ts';
import type { NetworkDefinition, NodeRuntime } from '../runtime/node-runtime.ts';

export interface NodeNetworks {
  /** Makes the Network usable here; asks the runtime only when it has not been asked the same before. */
  ensure(namespace: string, name: string): Promise<Need<{ readonly bridge: string; readonly gateway: string }>>;
  /** Forgets what the runtime was told: it may have been restarted. */
  forget(): void;
}

/** The definition for the runtime, or why it cannot be made yet. Pure. */
export function defineNetwork(network: Network, nodeName: string): Need<{ readonly definition: NetworkDefinition }> {
  const { name, namespace = '' } = network.metadata;
  const wait = (reason: string, message: string): Need<never> => ({ state: 'Waiting', reason, message });
  if (network.metadata.deletionTimestamp !== undefined) {
    return wait('NetworkDeleting', `network "${name}" is being deleted`);
  }
  if (network.spec.driver === 'overlay') {
    return wait('NetworkNotSupported', `network "${name}": driver overlay is not supported by this version`);
  }
  const subnets = network.status?.subnets ?? [];
  if (subnets.length === 0) {
    const ready = network.status?.conditions?.find(({ type }) => type === 'Ready');
    const detail = ready?.status === 'False' && ready.message ? `: ${ready.message}` : '';
    return wait('NetworkNotReady', `network "${name}" has no subnet yet${detail}`);
  }
  const node = network.status?.nodes?.find((one) => one.name === nodeName);
  if (!node?.ranges || node.ranges.length === 0) {
    return wait('NetworkNotReady', `network "${name}" has no addresses for node ${nodeName} yet`);
  }
  const ranges = node.ranges;
  return {
    state: 'Ready',
    definition: {
      id: `${namespace}/${name}`,
      subnets: subnets.map((subnet, index) => ({
        cidr: subnet.cidr,
        gateway: subnet.gateway ?? '',
        // Blocks are taken from the first subnet.
        ranges: index === 0 ? ranges : [],
      })),
      internal: network.spec.internal ?? false,
      isolated: network.spec.isolated ?? false,
      mtu: network.spec.mtu ?? 0,
      domain: namespace,
    },
  };
}

/** Networks as the cache knows them, on the node `nodeName`. */
export function createNodeNetworks(
  lister: Lister<Network>,
  runtime: Pick<NodeRuntime, 'ensureNetwork'>,
  nodeName: string,
): NodeNetworks {
  const ensured = new Map<string, { text: string; bridge: Promise<string> }>();
  return {
    async ensure(namespace, name) {
      const network = lister.get(namespace, name);
      if (!network) return { state: 'Waiting', reason: 'NetworkNotFound', message: `network "${name}" not found` };
      const defined = defineNetwork(network, nodeName);
      if (defined.state === 'Waiting') return defined;
      const { definition } = defined;
      const text = canonicalJson(definition);
      let entry = ensured.get(definition.id);
      if (entry?.text !== text) {
        entry = { text, bridge: runtime.ensureNetwork(definition).then(({ bridge }) => bridge) };
        ensured.set(definition.id, entry);
      }
      try {
        return { state: 'Ready', bridge: await entry.bridge, gateway: definition.subnets[0]?.gateway ?? '' };
      } catch (error) {
        if (ensured.get(definition.id) === entry) ensured.delete(definition.id);
        return {
          state: 'Waiting',
          reason: 'NetworkFailed',
          message: `network "${name}" cannot be set up on node ${nodeName}: ${messageOf(error)}`,
          retryAtMs: Date.now() + 2000,
        };
      }
    },
    forget: () => ensured.clear(),
  };
}
