// Services as table content: one chain per service port, found by virtual address and by published port. Pure.
import { shortHash, type Instance } from '../../lib/instance.ts';
import type { ServiceBackend, ServicePort, ServiceSpec } from './node-network.ts';
import { relayRules, serviceIpv6Rules, serviceRules } from './service-rules.ts';
import { describeElements, type TableElement } from './table-elements.ts';

/** The chain for what arrives from other nodes. */
const localChain = (chain: string): string => `${chain}-l`;
/** The chain for clients that come by IPv6. */
const ipv6Chain = (chain: string): string => `${chain}-6`;

export interface ServicePlan {
  readonly elements: readonly TableElement[];
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Virtual addresses that the bridges answer for. */
  readonly virtualIps: ReadonlyMap<string, string>;
}

/** Chain of one port of a service; the name is stable so that a change of backends touches that chain alone. */
export function serviceChain(serviceId: string, port: ServicePort): string {
  return `svc-${shortHash(`${serviceId}/${port.virtualIp}/${port.protocol}/${port.port}/${port.publishedPort}`, 12)}`;
}

export interface ServiceSurroundings {
  /** Finds the bridge of a virtual address on this node. */
  readonly bridgeOf: (ip: string) => string | undefined;
  /** Whether other nodes can be reached, and reach this one. */
  readonly hasIngress: boolean;
  /** Whether the backend's node does not answer this one. */
  readonly isSilent: (ip: string) => boolean;
  /** Port where this process relays what comes for the service port with that chain. */
  readonly relayOf: (chain: string) => number | undefined;
}

/** Whether the backends want a header in front of the stream, which the kernel cannot put there. */
export const isRelayed = (port: ServicePort): boolean =>
  port.clientAddress === 'ProxyProtocol' && port.protocol === 'TCP' && port.publishedPort !== 0;

/** Whether clients that come by IPv6 can be led to the backend: other nodes are reached by IPv4 alone. */
export const hasIpv6 = ({ isRemote, ipv6 }: ServiceBackend): boolean => !isRemote && ipv6 !== undefined;

/** The backends among which clients of this node are spread. */
export function servingBackends(
  port: ServicePort,
  { hasIngress, isSilent }: Pick<ServiceSurroundings, 'hasIngress' | 'isSilent'>,
): readonly ServiceBackend[] {
  const reachable = port.backends.filter(({ isDraining, isRemote }) => !isDraining && (hasIngress || !isRemote));
  return withoutSilent(reachable, isSilent);
}

/** What the tables must hold for the services. */
export function planServices(
  instance: Instance,
  services: readonly ServiceSpec[],
  { bridgeOf, hasIngress, isSilent, relayOf }: ServiceSurroundings,
): ServicePlan {
  const describe = describeElements(instance);
  const elements: TableElement[] = [];
  const chains = new Map<string, readonly string[]>();
  const virtualIps = new Map<string, string>();
  for (const service of services) {
    for (const port of service.ports) {
      const chain = serviceChain(service.id, port);
      const bridge = port.virtualIp === '' ? undefined : bridgeOf(port.virtualIp);
      if (bridge === undefined && port.publishedPort === 0) continue;
      const local = port.backends.filter(({ isRemote, isDraining }) => !isRemote && !isDraining);
      // Other nodes may not know yet that those which are left here are about to stop.
      const arriving = local.length > 0 ? local : port.backends.filter(({ isDraining }) => isDraining);
      const serving = servingBackends(port, { hasIngress, isSilent });
      const relay = isRelayed(port) ? relayOf(chain) : undefined;
      // Without anybody behind it a relay is not asked either: clients are refused at once.
      const isLedToRelay = relay !== undefined && serving.length > 0;
      chains.set(chain, isLedToRelay ? relayRules(relay) : serviceRules(port, isRelayed(port) ? [] : serving));
      if (relay !== undefined) elements.push(describe.ofRelay(relay));
      if (bridge !== undefined) {
        virtualIps.set(port.virtualIp, bridge);
        elements.push(describe.ofVipPort(port, chain));
      }
      if (port.publishedPort === 0) continue;
      if (!port.isTaken) elements.push(describe.ofServicePort('serviceports', port, chain));
      const ipv6 = isRelayed(port) ? [] : local.filter(hasIpv6);
      if (!port.isTaken && ipv6.length > 0) {
        chains.set(ipv6Chain(chain), serviceIpv6Rules(port, ipv6));
        elements.push(describe.ofServicePort('serviceports6', port, ipv6Chain(chain)));
      }
      // What another node sends here ends here: it is not sent on.
      if (!hasIngress || arriving.length === 0) continue;
      const isAlone = local.length === port.backends.length && !isRelayed(port);
      if (!isAlone) chains.set(localChain(chain), serviceRules(port, arriving));
      elements.push(describe.ofServicePort('ingressports', port, isAlone ? chain : localChain(chain)));
    }
  }
  for (const [ip, bridge] of virtualIps) elements.push(...describe.ofVip(bridge, ip));
  return { elements, chains, virtualIps };
}

/** When nobody answers it may be this node that is not heard: then all of them are tried. */
function withoutSilent(
  backends: readonly ServiceBackend[],
  isSilent: (ip: string) => boolean,
): readonly ServiceBackend[] {
  const answering = backends.filter(({ ip }) => !isSilent(ip));
  return answering.length > 0 ? answering : backends;
}

export interface ServiceChange {
  readonly add: readonly TableElement[];
  readonly remove: readonly TableElement[];
  readonly setChains: ReadonlyMap<string, readonly string[]>;
  readonly removeChains: readonly string[];
}

/** The difference between what stands and what must stand. */
export function diffServices(current: ServicePlan, wanted: ServicePlan): ServiceChange {
  const [before, after] = [current, wanted].map(
    (plan) => new Map(plan.elements.map((item) => [keyOf(item), item])),
  ) as [Map<string, TableElement>, Map<string, TableElement>];
  const isSame = (a: readonly string[] | undefined, b: readonly string[]): boolean => a?.join('\n') === b.join('\n');
  return {
    add: [...after].filter(([key]) => !before.has(key)).map(([, item]) => item),
    remove: [...before].filter(([key]) => !after.has(key)).map(([, item]) => item),
    setChains: new Map([...wanted.chains].filter(([chain, rules]) => !isSame(current.chains.get(chain), rules))),
    removeChains: [...current.chains.keys()].filter((chain) => !wanted.chains.has(chain)),
  };
}

const keyOf = (element: TableElement): string => `${element.set} ${element.words}`;

/** UDP ports (virtual and published) whose backends are not what they were, with the backends that remain. */
export function staleUdpFlows(
  before: readonly ServiceSpec[],
  after: readonly ServiceSpec[],
): Map<number, ReadonlySet<string>> {
  const describe = (services: readonly ServiceSpec[]): Map<string, ServicePort> =>
    new Map(
      services.flatMap(({ ports }) =>
        ports.filter(({ protocol }) => protocol === 'UDP').map((port) => [JSON.stringify(port), port] as const),
      ),
    );
  const [old, current] = [describe(before), describe(after)];
  const changed = [...[...old].filter(([key]) => !current.has(key)), ...[...current].filter(([key]) => !old.has(key))];
  const stale = new Map<number, Set<string>>();
  for (const [, { port, publishedPort }] of changed)
    for (const number of [port, publishedPort]) if (number !== 0) stale.set(number, new Set());
  for (const { port, publishedPort, backends } of current.values())
    for (const number of [port, publishedPort])
      for (const { ip, ipv6, isDraining } of backends)
        for (const address of [ip, ipv6]) if (address !== undefined && !isDraining) stale.get(number)?.add(address);
  return stale;
}
