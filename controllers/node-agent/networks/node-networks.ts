// The Networks that containers of this node are on, made true by the runtime.
import { isIP, isIPv4, isIPv6 } from 'node:net';
import type { Network } from '../../../crds/network.ts';
import { messageOf } from '../../../lib/errors.ts';
import { ipv6Of } from '../../../lib/ipv6.ts';
import { isIpv6Subnet } from '../../network/ipv6-subnet.ts';
import type { Lister } from '../cluster.ts';
import { canonicalJson } from '../container/spec-hash.ts';
import type { Need } from '../container/prepared.ts';
import type { NetworkDefinition, NetworkPeers, NodeRuntime } from '../runtime/node-runtime.ts';

export interface NodeNetworks {
  /** Makes the Network usable here; asks the runtime only when it has not been asked the same before. */
  ensure(namespace: string, name: string): Promise<Need<{ readonly bridge: string; readonly gateway: string }>>;
  /** Tells the runtime what an overlay has on other nodes, when that is not what it was told last. */
  tellPeers(network: Network): Promise<void>;
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
  const subnets = (network.status?.subnets ?? []).filter((subnet) => !isIpv6Subnet(subnet));
  const ipv6 = network.status?.subnets?.find(isIpv6Subnet);
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
  const overlay = network.spec.driver === 'overlay' ? defineOverlay(network, node) : undefined;
  if (network.spec.driver === 'overlay' && overlay === undefined) {
    if (network.spec.encrypted && node.encryptionKey === undefined) {
      const said = network.status?.conditions?.find(({ type }) => type === 'Encrypted')?.message;
      const why = `network "${name}" is encrypted, which node ${nodeName} cannot do${said ? `: ${said}` : ''}`;
      return wait('EncryptionUnavailable', why);
    }
    const missing = node.underlayIP === undefined ? 'node has no InternalIP' : 'network has no VNI yet';
    return wait('NetworkNotReady', `network "${name}" is not ready for node ${nodeName}: the ${missing}`);
  }
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
      ...(ipv6 && { ipv6: { cidr: ipv6.cidr, gateway: ipv6.gateway ?? '', pool: ipv6.ipRange ?? ipv6.cidr } }),
      ...(overlay === undefined ? {} : { overlay }),
    },
  };
}

type NodeEntry = NonNullable<NonNullable<Network['status']>['nodes']>[number];

function defineOverlay({ spec, status }: Network, node: NodeEntry): NetworkDefinition['overlay'] {
  const { vni, vxlanPort: port } = status ?? {};
  const { underlayIP: underlayIp, ipv4Address: nodeIp, macAddress: nodeMac } = node;
  if (vni === undefined || port === undefined) return undefined;
  if (underlayIp === undefined || nodeIp === undefined || nodeMac === undefined) return undefined;
  const inClear = { vni, port, underlayIp, nodeIp, nodeMac };
  if (!spec.encrypted) return inClear;
  const { wireguardPort } = status ?? {};
  if (node.encryptionKey === undefined || node.tunnelIP === undefined || wireguardPort === undefined) return undefined;
  return { ...inClear, encryption: { ip: node.tunnelIP, port: wireguardPort } };
}

/** The lowest bit of the first byte marks groups. */
export const isUnicastMac = (text: string): boolean => /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(text);

/** What an overlay has on nodes other than `nodeName`: their bridges, and the containers that have an address. Pure. */
export function definePeers({ spec, status }: Network, nodeName: string): NetworkPeers {
  const underlays = new Map<string, string>();
  const endpoints: NetworkPeers['endpoints'][number][] = [];
  // Both ends of a tunnel have addresses of one family.
  const family = isIP(status?.nodes?.find(({ name }) => name === nodeName)?.underlayIP ?? '') || 4;
  const subnet = status?.subnets?.find(isIpv6Subnet);
  const pool = subnet && (subnet.ipRange ?? subnet.cidr);
  // What nodes say of their addresses is data from other machines: one that is none must not cost us the others.
  const add = (ip: string | undefined, mac: string | undefined, host: string): void => {
    if (ip === undefined || mac === undefined || !isIPv4(ip) || !isUnicastMac(mac)) return;
    endpoints.push({ ip, mac: mac.toLowerCase(), host });
  };
  const addIpv6 = (ip: string | undefined, mac: string | undefined, host: string): void => {
    if (!pool || ip === undefined || mac === undefined || !isIPv6(ip) || ip.includes('%') || !isUnicastMac(mac)) return;
    endpoints.push({ ip, mac: mac.toLowerCase(), host });
  };
  for (const { name, underlayIP: host, ipv4Address: ip, macAddress: mac } of status?.nodes ?? []) {
    if (name === nodeName || host === undefined || isIP(host) !== family || host.includes('%')) continue;
    underlays.set(name, host);
    add(ip, mac, host);
    if (pool && ip !== undefined && isIPv4(ip)) addIpv6(ipv6Of(pool, ip), mac, host);
  }
  for (const { ipv4Address: ip, ipv6Address: ipv6, macAddress: mac, nodeName: at } of status?.endpoints ?? []) {
    const host = underlays.get(at ?? '');
    if (host === undefined) continue;
    add(ip, mac, host);
    addIpv6(ipv6, mac, host);
  }
  const hosts = [...new Set(underlays.values())];
  if (!spec.encrypted) return { hosts, endpoints };
  const tunnels = (status?.nodes ?? []).flatMap(({ name, tunnelIP: ip, encryptionKey: publicKey }) => {
    const host = underlays.get(name);
    return host === undefined || ip === undefined || publicKey === undefined ? [] : [{ host, ip, publicKey }];
  });
  // Of two nodes that say to be at one address, one would get what is for the other: neither does.
  const count = Map.groupBy(tunnels, ({ host }) => host);
  return { hosts, endpoints, tunnels: tunnels.filter(({ host }) => count.get(host)?.length === 1) };
}

/** Networks as the cache knows them, on the node `nodeName`. */
export function createNodeNetworks(
  lister: Lister<Network>,
  runtime: Pick<NodeRuntime, 'ensureNetwork' | 'setPeers'>,
  nodeName: string,
): NodeNetworks {
  const told = new Map<string, string>();
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
    async tellPeers(network) {
      if (network.spec.driver !== 'overlay') return;
      const id = `${network.metadata.namespace ?? ''}/${network.metadata.name}`;
      const peers = definePeers(network, nodeName);
      const text = canonicalJson(peers);
      if (told.get(id) === text) return;
      await runtime.setPeers(id, peers);
      told.set(id, text);
    },
    forget() {
      ensured.clear();
      told.clear();
    },
  };
}
