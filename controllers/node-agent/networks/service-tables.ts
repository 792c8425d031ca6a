// What this node's network is told of Services: virtual and published ports with their backends, and names. Pure.
import { isIPv4, isIPv6 } from 'node:net';
import type { Container } from '../../../crds/container.ts';
import type { ContainerEndpoint } from '../../../crds/container-endpoint.ts';
import { isIngress, type Network } from '../../../crds/network.ts';
import type { ServicePort } from '../../../crds/service.ts';
import type { ServiceFrontend } from '../../../crds/service-frontend.ts';
import { isConditionTrue } from '../../runtime/conditions.ts';
import type { Cluster } from '../cluster.ts';
import { attachmentsOf, networkNamesOf } from '../container/sandbox-config.ts';
import type { BalancedService, Ingress, NameRecord, NetworkNames } from '../runtime/node-runtime.ts';
import { isUnicastMac } from './node-networks.ts';

export const SERVICE_LABEL = 'windlass.dev/service';

/** A Container of this node, or what is seen of one elsewhere. */
export type Placed = Container | ContainerEndpoint;

export interface ServiceTablesInput {
  readonly services: readonly ServiceFrontend[];
  /** Of this node all, of others what can be reached. */
  readonly containers: readonly Placed[];
  readonly networks: readonly Network[];
  readonly nodeName: string;
  /** Whether the runtime knows draining backends: one that does not would lead clients of this node to them. */
  readonly canDrain: boolean;
}

export interface ServiceTables {
  readonly services: readonly BalancedService[];
  readonly names: readonly NetworkNames[];
  /** Undefined while this node is alone, or not on that network yet. */
  readonly ingress: Ingress | undefined;
  /**
   * The newest version of a member elsewhere that is being deleted: the tables lead nobody to it any more. Those of this node
   * do not count: they come by another watch, which may be ahead.
   */
  readonly revision: number;
}

/** What runs on this node, and what can be reached elsewhere. */
export function placedIn(
  { containers, endpoints }: Pick<Cluster, 'containers' | 'endpoints'>,
  nodeName: string,
): Placed[] {
  return [...containers.list().filter(({ spec }) => spec.nodeName === nodeName), ...endpoints.list()];
}

/** The whole tables, sorted, so that equal states compare equal. */
export function buildServiceTables(input: ServiceTablesInput): ServiceTables {
  const { nodeName } = input;
  const { members, leaving } = groupMembers(input.containers);
  const overlays = new Set(input.networks.filter(({ spec }) => spec.driver === 'overlay').map(idOf));
  const internal = new Set(input.networks.filter(({ spec }) => spec.internal).map(idOf));
  const ingress = findIngress(input.networks, nodeName);
  const services: BalancedService[] = [];
  const names = new Map<string, NameRecord[]>();
  for (const service of input.services.toSorted(byId)) {
    if (service.metadata.deletionTimestamp !== undefined) continue;
    const own = members.get(idOf(service)) ?? [];
    const scope: Scope = {
      service,
      nodeName,
      hasMemberHere: own.some(({ spec }) => spec.nodeName === nodeName),
      ready: own.filter((container) => isConditionTrue(container, 'Ready')),
      draining: (leaving.get(idOf(service)) ?? []).filter(
        (container) => input.canDrain && container.spec.nodeName === nodeName && isConditionTrue(container, 'Ready'),
      ),
      addressOf: ingress?.addressOf ?? (() => undefined),
      isOverlay: (network) => overlays.has(idOn(service, network)),
      isInternal: (network) => internal.has(idOn(service, network)),
    };
    const ports = (service.spec.ports ?? []).flatMap((port) => balancePort(scope, port, input.services));
    if (ports.length > 0) services.push({ id: idOf(service), ports });
    for (const network of networksOf(service)) {
      const vip = virtualIpOf(service, network);
      const members = vip === undefined ? reachable(scope, network) : [{ ip: vip, ipv6: undefined }];
      const id = idOn(service, network);
      names.set(id, [...(names.get(id) ?? []), nameRecord(service.metadata.name, members)]);
    }
  }
  const elsewhere = namesElsewhere(input.containers, overlays, nodeName);
  return {
    services,
    names: [...new Set([...names.keys(), ...elsewhere.keys()])].toSorted().map((network) => ({
      network,
      records: names.get(network) ?? [],
      elsewhere: elsewhere.get(network) ?? [],
    })),
    ingress: ingress?.definition,
    revision: [...leaving.values()]
      .flat()
      .filter(({ spec }) => spec.nodeName !== nodeName)
      .reduce((newest, { metadata }) => Math.max(newest, Number(metadata.resourceVersion ?? 0)), 0),
  };
}

interface Scope {
  readonly service: ServiceFrontend;
  readonly nodeName: string;
  /** Ready or not. */
  readonly hasMemberHere: boolean;
  readonly ready: readonly Placed[];
  /** Of this node, being deleted, and not stopped yet. */
  readonly draining: readonly Placed[];
  /** Address of another node on the ingress network. */
  readonly addressOf: (nodeName: string) => string | undefined;
  readonly isOverlay: (network: string) => boolean;
  readonly isInternal: (network: string) => boolean;
}

interface Addresses {
  readonly ip: string;
  readonly ipv6: string | undefined;
}

const nameRecord = (name: string, addresses: readonly Addresses[]): NameRecord => ({
  name,
  ipv4Addresses: addresses.map(({ ip }) => ip),
  ipv6Addresses: addresses.flatMap(({ ipv6 }) => ipv6 ?? []),
});

interface Member extends Addresses {
  readonly placed: Placed;
  readonly nodeName: string;
}

/** What a node says of its addresses is data from another machine. */
function addressesOn(status: Placed['status'], network: string): Addresses | undefined {
  const { ipv4Address: ip, ipv6Address: ipv6 = '' } = status?.networks?.find(({ name }) => name === network) ?? {};
  return ip === undefined || !isIPv4(ip) ? undefined : { ip, ipv6: isIpv6(ipv6) ? ipv6 : undefined };
}

const isIpv6 = (ip: string): boolean => isIPv6(ip) && !ip.includes('%');

/** Members with an address on the network, in the order of their addresses. */
const membersOn = (members: readonly Placed[], network: string): Member[] =>
  members
    .flatMap((placed) => {
      const { spec, status } = placed;
      const addresses = addressesOn(status, network);
      return addresses ? [{ ...addresses, nodeName: spec.nodeName ?? '', placed }] : [];
    })
    .toSorted((a, b) => (a.ip < b.ip ? -1 : 1));

/** Those that containers of this node reach: a bridge is a world of its own on each node. */
const reachable = (scope: Scope, network: string): Member[] =>
  membersOn(scope.ready, network).filter(({ nodeName }) => nodeName === scope.nodeName || scope.isOverlay(network));

type Balanced = BalancedService['ports'][number];

function balancePort(scope: Scope, port: ServicePort, services: readonly ServiceFrontend[]): Balanced[] {
  const { service } = scope;
  const protocol = port.protocol ?? 'TCP';
  const target = port.targetPort ?? port.port;
  const common = { protocol, sessionAffinity: service.spec.sessionAffinity === 'ClientIP' };
  const networks = networksOf(service);
  const virtual = networks.flatMap((network): Balanced[] => {
    const virtualIp = virtualIpOf(service, network);
    if (virtualIp === undefined) return [];
    const backends = reachable(scope, network).map(({ ip }) => backend(ip, target));
    return [{ ...common, virtualIp, port: port.port, publishedPort: 0, backends, masquerade: false }];
  });
  // One network is enough to reach every member from outside: the one by which its answers leave.
  const network = networks.find((name) => !scope.isInternal(name)) ?? networks[0];
  if (network === undefined || !isPublishedHere(scope, port, services)) return virtual;
  const open = networks.filter((name) => !scope.isInternal(name));
  const backends = membersOn(scope.ready, network).flatMap(
    ({ ip, nodeName, placed }): Balanced['backends'][number][] => {
      if (nodeName === scope.nodeName) {
        // The same for IPv6: its answers leave by the first network that has it.
        const ipv6 = open
          .map((name) => addressesOn(placed.status, name)?.ipv6)
          .find((address) => address !== undefined);
        return [{ ...backend(ip, target), ...(ipv6 === undefined ? {} : { ipv6 }) }];
      }
      const node = port.mode === 'Host' ? undefined : scope.addressOf(nodeName);
      // That node leads it on to those of its own.
      const { id } = backend(ip, target);
      return node === undefined ? [] : [{ id, ip: node, port: port.publishedPort ?? 0, isRemote: true }];
    },
  );
  // Other nodes may send clients here until they know better.
  const draining = port.mode === 'Host' ? [] : membersOn(scope.draining, network);
  for (const { ip } of draining) backends.push({ ...backend(ip, target), isDraining: true });
  const masquerade = service.spec.clientAddress === 'Masquerade';
  const published = { virtualIp: '', port: 0, publishedPort: port.publishedPort ?? 0, backends, masquerade };
  const header = service.spec.clientAddress === 'ProxyProtocol' ? { proxyHeader: true } : {};
  return [...virtual, { ...common, ...published, ...header }];
}

const backend = (ip: string, port: number): Balanced['backends'][number] => ({
  ...{ id: `${ip}:${port}`, ip, port, isRemote: false },
});

const virtualIpOf = ({ spec, status }: ServiceFrontend, network: string): string | undefined =>
  spec.endpointMode === 'DNSRR'
    ? undefined
    : status?.virtualIPs?.find((one) => one.network === network && isIPv4(one.ip))?.ip;

/** The ingress network as this node sees it; undefined while there is nobody else on it. */
function findIngress(
  networks: readonly Network[],
  nodeName: string,
): { readonly definition: Ingress; readonly addressOf: (nodeName: string) => string | undefined } | undefined {
  const network = networks.find(isIngress);
  const nodes = (network?.status?.nodes ?? []).flatMap(({ name, ipv4Address: ip, macAddress: mac, underlayIP }) =>
    ip === undefined || !isIPv4(ip) || mac === undefined || !isUnicastMac(mac)
      ? []
      : [{ name, ip, mac, hosts: isIPv4(underlayIP ?? '') ? [underlayIP ?? ''] : [] }],
  );
  const own = nodes.find(({ name }) => name === nodeName);
  const others = nodes.filter(({ name }) => name !== nodeName);
  if (!network || !own || others.length === 0) return undefined;
  const addresses = new Map(others.map(({ name, ip }) => [name, ip]));
  return {
    definition: { network: idOf(network), ip: own.ip, peers: others.map(({ ip, mac, hosts }) => ({ ip, mac, hosts })) },
    addressOf: (name) => addresses.get(name),
  };
}

/** Names and aliases of what runs on other nodes, of the networks that reach there. */
function namesElsewhere(
  containers: readonly Placed[],
  overlays: ReadonlySet<string>,
  nodeName: string,
): Map<string, NameRecord[]> {
  const names = new Map<string, Map<string, Addresses[]>>();
  const isElsewhere = ({ spec, status, metadata }: Placed): boolean =>
    spec.nodeName !== undefined &&
    spec.nodeName !== nodeName &&
    status?.phase === 'Running' &&
    metadata.deletionTimestamp === undefined;
  for (const container of containers.filter(isElsewhere).toSorted(byId)) {
    for (const { network, names: own } of attachmentsOf(container)) {
      const short = network.slice((container.metadata.namespace ?? '').length + 1);
      const addresses = addressesOn(container.status, short);
      if (!addresses || !overlays.has(network)) continue;
      const known = names.get(network) ?? new Map<string, Addresses[]>();
      for (const name of own) known.set(name, [...(known.get(name) ?? []), addresses]);
      names.set(network, known);
    }
  }
  return new Map(
    [...names].map(([network, known]) => [network, [...known].map(([name, addresses]) => nameRecord(name, addresses))]),
  );
}

const byId = (a: HasName, b: HasName): number => (idOf(a) < idOf(b) ? -1 : 1);

const idOn = ({ metadata }: HasName, network: string): string => `${metadata.namespace ?? ''}/${network}`;

interface HasName {
  readonly metadata: { readonly namespace?: string; readonly name: string };
}

const idOf = ({ metadata }: { metadata: { namespace?: string; name: string } }): string =>
  `${metadata.namespace ?? ''}/${metadata.name}`;

const networksOf = ({ spec }: ServiceFrontend): string[] => networkNamesOf({ spec: spec.template.spec });

interface Members {
  readonly members: ReadonlyMap<string, readonly Placed[]>;
  /** Those that are being deleted. */
  readonly leaving: ReadonlyMap<string, readonly Placed[]>;
}

/** `<namespace>/<name>` of the Service whose Container it is. A label alone does not make one: anybody can write it. */
export function serviceOf({ metadata }: Placed): string | undefined {
  const { labels, namespace = '', ownerReferences = [] } = metadata;
  const service = labels?.[SERVICE_LABEL];
  const isOwned = ownerReferences.some(
    ({ kind, name, controller }) => kind === 'Service' && name === service && controller,
  );
  return service !== undefined && isOwned ? `${namespace}/${service}` : undefined;
}

function groupMembers(containers: readonly Placed[]): Members {
  const [members, leaving] = [new Map<string, Placed[]>(), new Map<string, Placed[]>()];
  for (const container of containers) {
    const id = serviceOf(container);
    if (id === undefined) continue;
    const groups = container.metadata.deletionTimestamp === undefined ? members : leaving;
    const list = groups.get(id);
    if (list) list.push(container);
    else groups.set(id, [container]);
  }
  return { members, leaving };
}

/**
 * Ingress: on every node, if the service controller says that the port is this Service's. Host: where a member is, unless
 * another Service has the port everywhere.
 */
function isPublishedHere(
  { service, hasMemberHere }: Scope,
  port: ServicePort,
  services: readonly ServiceFrontend[],
): boolean {
  const { publishedPort, mode, protocol: wanted } = port;
  const has = ({ status }: ServiceFrontend): boolean =>
    status?.publishedPorts?.some((held) => held.port === publishedPort && held.protocol === wanted) ?? false;
  if (publishedPort === undefined) return false;
  return mode === 'Host' ? hasMemberHere && !services.some(has) : has(service);
}
