// What the node's network consists of, in memory: the one place from which tables, links and names are derived.
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { linkLocalOf } from '../../lib/ipv6.ts';
import { isIPv6 } from 'node:net';
import { contains, parseCidr, parseIp } from './ipam.ts';
import { peerNumber } from './marks.ts';
import type { IngressSpec, NamesOfNetwork, NetworkSpec, OverlayPeers, ServiceSpec } from './node-network.ts';
import type { SandboxRecord } from './records.ts';
import { planServices, type ServicePlan, type ServiceSurroundings } from './service-plan.ts';
import { describeElements, type TableElement } from './table-elements.ts';
import type { TableContent } from './table-script.ts';
import { isEncrypted } from './tunnel.ts';

export const DNS_PORT = 53;

export interface NetworkState {
  readonly networks: Map<string, NetworkSpec>;
  /** Of overlays: what they have on other nodes. */
  readonly peers: Map<string, OverlayPeers>;
  readonly sandboxes: Map<string, SandboxRecord>;
  /** Links that are being deleted: neither expected nor to be deleted again. */
  readonly leaving: Set<string>;
  /** Where the name server listens if not on port 53: gateway -> port per protocol. */
  readonly nameServerPorts: Map<string, Partial<Record<'TCP' | 'UDP', number>>>;
  ingress: IngressSpec | undefined;
  /** Peers of the ingress network that do not answer this node, by their address there. */
  silentPeers: ReadonlySet<string>;
  services: readonly ServiceSpec[];
  /** Chain of a service port -> port of the listener that relays it. */
  relays: ReadonlyMap<string, number>;
  names: ReadonlyMap<string, NamesOfNetwork>;
}

/** Nothing yet. */
export function emptyState(): NetworkState {
  return {
    networks: new Map(),
    peers: new Map(),
    sandboxes: new Map(),
    leaving: new Set(),
    nameServerPorts: new Map(),
    ingress: undefined,
    silentPeers: new Set(),
    services: [],
    relays: new Map(),
    names: new Map(),
  };
}

/** Addresses of the network in use: number -> label of the holder. Virtual IPs count. */
export function usedAddresses(state: NetworkState, networkId: string): Map<number, string> {
  const used = new Map<number, string>();
  for (const sandbox of state.sandboxes.values()) {
    for (const endpoint of sandbox.endpoints)
      if (endpoint.network === networkId) used.set(parseIp(endpoint.ipv4Address), sandbox.label);
  }
  const nodeIp = state.networks.get(networkId)?.overlay?.nodeIp;
  if (nodeIp !== undefined) used.set(parseIp(nodeIp), 'this node itself');
  for (const { ip, host } of state.peers.get(networkId)?.endpoints ?? [])
    if (!isIPv6(ip)) used.set(parseIp(ip), `the node at ${host}`);
  for (const service of state.services)
    for (const { virtualIp } of service.ports)
      if (virtualIp !== '') used.set(parseIp(virtualIp), `Service ${service.id}`);
  return used;
}

/** Label of the holder of an IPv6 address of the network, in its shortest form. */
export function findIpv6Holder(state: NetworkState, networkId: string, address: string): string | undefined {
  for (const { label, endpoints } of state.sandboxes.values())
    if (endpoints.some(({ network, ipv6 }) => network === networkId && ipv6?.address === address)) return label;
  const elsewhere = state.peers.get(networkId)?.endpoints.find(({ ip }) => ip === address);
  return elsewhere && `the node at ${elsewhere.host}`;
}

/** The bridge whose subnet holds the address. */
export function bridgeOfAddress(instance: Instance, state: NetworkState, ip: string): string | undefined {
  const number = parseIp(ip);
  for (const spec of state.networks.values())
    if (spec.subnets.some(({ cidr }) => contains(parseCidr(cidr), number)))
      return kernelNames.bridge(instance, spec.id);
  return undefined;
}

/** Elements of one network. */
export function networkElements(instance: Instance, spec: NetworkSpec): TableElement[] {
  return describeElements(instance).ofBridge(kernelNames.bridge(instance, spec.id), {
    internal: spec.internal,
    isolated: spec.isolated,
    gateways: [...spec.subnets.map(({ gateway }) => gateway), ...(spec.ipv6 ? [spec.ipv6.gateway] : [])],
  });
}

/** Elements that let an overlay's packets in from its peers, and from nobody else. */
export function peerElements(instance: Instance, spec: NetworkSpec, peers: OverlayPeers | undefined): TableElement[] {
  if (!spec.overlay) return [];
  const { vni, port } = spec.overlay;
  const elements = describeElements(instance);
  if (isEncrypted(spec))
    return [elements.ofSealedVni(port, vni), ...(peers?.tunnels ?? []).map(({ ip }) => elements.ofPeer(ip, vni))];
  return [elements.ofVni(port, vni), ...[...new Set(peers?.hosts)].map((host) => elements.ofPeer(host, vni))];
}

/** Elements of one sandbox: who may send from its links, and where its published ports lead. */
export function sandboxElements(instance: Instance, state: NetworkState, record: SandboxRecord): TableElement[] {
  const elements = describeElements(instance);
  const senders = record.endpoints.flatMap(({ hostLink, macAddress, ipv4Address, ipv6 }) => [
    elements.ofSender(hostLink, macAddress, ipv4Address),
    ...(ipv6 ? elements.ofIpv6Sender(hostLink, macAddress, [ipv6.address, linkLocalOf(macAddress)]) : []),
  ]);
  const targets = publishedAddresses(state, record);
  return [...senders, ...record.ports.flatMap((port) => targets.flatMap((ip) => elements.ofPort(port, ip)))];
}

/** Published ports lead to the interface with the default route of a family: only from there do answers find their way. */
export function publishedAddresses(state: NetworkState, record: SandboxRecord): string[] {
  const open = record.endpoints.filter(({ network }) => !state.networks.get(network)?.internal);
  const ipv4 = (open.find(({ isDefaultRoute }) => isDefaultRoute) ?? open[0])?.ipv4Address;
  const ipv6 = open.find(({ isIpv6DefaultRoute }) => isIpv6DefaultRoute)?.ipv6?.address;
  return [ipv4, ipv6].filter((ip) => ip !== undefined);
}

/** Elements that lead questions for port 53 of a gateway to where the name server listens instead. */
export function nameServerElements(instance: Instance, state: NetworkState, gateway: string): TableElement[] {
  const taken = [...state.sandboxes.values()].flatMap(({ ports }) => ports).filter(({ hostIp }) => hostIp === gateway);
  return (['TCP', 'UDP'] as const).flatMap((protocol) => {
    const containerPort = state.nameServerPorts.get(gateway)?.[protocol];
    // A port published on that very address was asked for by name: one key leads to one place.
    const isTaken = taken.some((port) => port.protocol === protocol && port.hostPort === DNS_PORT);
    if (containerPort === undefined || isTaken) return [];
    return describeElements(instance).ofPort({ protocol, hostIp: gateway, hostPort: DNS_PORT, containerPort }, gateway);
  });
}

/** Addresses of backends on nodes that do not answer: the nodes' own, and those of endpoints on overlays there. */
export function silentAddresses({ ingress, silentPeers, peers }: NetworkState): ReadonlySet<string> {
  const silent = new Set<string>();
  const hosts = new Set<string>();
  for (const { ip, hosts: own } of ingress?.peers ?? []) {
    if (!silentPeers.has(ip)) continue;
    silent.add(ip);
    for (const host of own) hosts.add(host);
    // Over IPv6 the overlay alone knows where the node is.
    const bridge = peers.get(ingress?.network ?? '')?.endpoints.find((endpoint) => endpoint.ip === ip);
    if (bridge) hosts.add(bridge.host);
  }
  if (hosts.size > 0)
    for (const { endpoints } of peers.values())
      for (const { ip, host } of endpoints) if (hosts.has(host)) silent.add(ip);
  return silent;
}

/** Which backends this node can send clients to. */
export function reachability(state: NetworkState): Pick<ServiceSurroundings, 'hasIngress' | 'isSilent'> {
  const silent = silentAddresses(state);
  return { hasIngress: ingressOf(state) !== undefined, isSilent: (ip) => silent.has(ip) };
}

/** What the services need in the tables. */
export function servicePlan(instance: Instance, state: NetworkState): ServicePlan {
  return planServices(instance, state.services, {
    bridgeOf: (ip) => bridgeOfAddress(instance, state, ip),
    relayOf: (chain) => state.relays.get(chain),
    ...reachability(state),
  });
}

/** The ingress network with the range of its addresses; undefined when this node is not on it. */
export function ingressOf(state: NetworkState): (IngressSpec & { readonly cidr: string }) | undefined {
  const { ingress } = state;
  const cidr = ingress && state.networks.get(ingress.network)?.subnets[0]?.cidr;
  return ingress && cidr !== undefined ? { ...ingress, cidr } : undefined;
}

/** What tells apart the nodes that may send over the ingress network. */
export function ingressElements(instance: Instance, state: NetworkState): TableElement[] {
  const ingress = ingressOf(state);
  if (!ingress) return [];
  const elements = describeElements(instance);
  return [
    ...elements.ofIngress(kernelNames.bridge(instance, ingress.network), ingress.ip),
    ...ingress.peers.flatMap((peer) => {
      const number = peerNumber(ingress.cidr, peer.ip);
      return number === undefined ? [] : elements.ofIngressPeer(peer, number);
    }),
  ];
}

/** Everything that belongs in the tables now. */
export function tableContent(instance: Instance, state: NetworkState): TableContent {
  const services = servicePlan(instance, state);
  return {
    elements: [
      ...[...state.networks.values()].flatMap((spec) => networkElements(instance, spec)),
      ...[...state.networks.values()].flatMap((spec) => peerElements(instance, spec, state.peers.get(spec.id))),
      ...[...state.sandboxes.values()].flatMap((record) => sandboxElements(instance, state, record)),
      ...[...state.nameServerPorts.keys()].flatMap((gateway) => nameServerElements(instance, state, gateway)),
      ...ingressElements(instance, state),
      ...services.elements,
    ],
    serviceChains: services.chains,
  };
}
