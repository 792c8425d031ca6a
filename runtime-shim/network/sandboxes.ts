// Attaching sandboxes to networks: plan (pure but for the port sockets), record, then links and table elements.
import { WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { containsIpv6, formatIpv6, ipv6Of, parseIpv6, parseIpv6Cidr } from '../../lib/ipv6.ts';
import { allocateAddress, claimAddress, parseIp, type Lease } from './ipam.ts';
import { macOf } from './mac.ts';
import { findIpv4Owner } from './network-spec.ts';
import type { Attachment, InterfaceIpv6, NetworkInterface, NetworkSpec, SandboxNetwork } from './node-network.ts';
import type { EndpointRecord, SandboxRecord } from './records.ts';
import { findIpv6Holder, usedAddresses, type NetworkState } from './state.ts';

/** The network, or NotFound. */
export function requireNetwork(state: NetworkState, networkId: string): NetworkSpec {
  const spec = state.networks.get(networkId);
  if (!spec) throw new WindlassError('NotFound', `network ${networkId} does not exist on this node`);
  return spec;
}

/** The sandbox's record, or NotFound. */
export function requireSandbox(state: NetworkState, sandboxId: string): SandboxRecord {
  const record = state.sandboxes.get(sandboxId);
  if (!record) throw new WindlassError('NotFound', `sandbox ${sandboxId} is not attached to any network`);
  return record;
}

/** Chooses name, address and MAC of a new endpoint. `lastAddress` remembers per network where the search went on. */
export function planEndpoint(
  instance: Instance,
  state: NetworkState,
  lastAddress: Map<string, number>,
  sandbox: Pick<SandboxRecord, 'id' | 'endpoints'>,
  attachment: Attachment,
): EndpointRecord {
  const spec = requireNetwork(state, attachment.network);
  // Whoever is on it may choose the MAC of a node, and is then believed what other nodes say of their clients.
  if (state.ingress?.network === spec.id)
    throw new WindlassError('Invalid', `network ${spec.id} is for nodes only: it carries published ports between them`);
  const used = usedAddresses(state, spec.id);
  for (const endpoint of sandbox.endpoints)
    if (endpoint.network === spec.id) throw new WindlassError('Conflict', `already attached to network ${spec.id}`);
  const lease: Lease =
    attachment.ipv4Address === undefined || attachment.ipv4Address === ''
      ? allocateAddress(spec.subnets, used, lastAddress.get(spec.id) ?? 0)
      : claimAddress(spec.subnets, used, attachment.ipv4Address);
  const ipv6 = planIpv6(spec, state, lease.ip, attachment.ipv6Address ?? '');
  lastAddress.set(spec.id, parseIp(lease.ip));
  return {
    network: spec.id,
    name: freeInterfaceName(sandbox.endpoints),
    ipv4Address: lease.ip,
    prefixLength: lease.prefixLength,
    macAddress: attachment.macAddress || macOf(`${instance.id}/${spec.id}/${lease.ip}`),
    gateway: lease.gateway,
    hostLink: kernelNames.veth(instance, `${sandbox.id}/${spec.id}`),
    names: attachment.names,
    isDefaultRoute: !spec.internal && !sandbox.endpoints.some(({ isDefaultRoute }) => isDefaultRoute),
    ...(ipv6 && {
      ipv6,
      isIpv6DefaultRoute: !spec.internal && !sandbox.endpoints.some(({ isIpv6DefaultRoute }) => isIpv6DefaultRoute),
    }),
  };
}

/** The address asked for, else the one that goes with the IPv4 address. Invalid or Conflict for one that cannot be had. */
function planIpv6(spec: NetworkSpec, state: NetworkState, ipv4: string, wanted: string): InterfaceIpv6 | undefined {
  if (!spec.ipv6) {
    if (wanted === '') return undefined;
    throw new WindlassError('Invalid', `address ${wanted} cannot be given: network ${spec.id} has no IPv6 addresses`);
  }
  const { cidr, gateway, pool } = spec.ipv6;
  const range = parseIpv6Cidr(cidr);
  const own = ipv6Of(pool, ipv4);
  const address = wanted === '' ? own : formatIpv6(parseIpv6(wanted));
  if (address !== own) {
    const value = parseIpv6(address);
    const isUsable = containsIpv6(range, value) && value !== range.first && value !== parseIpv6(gateway);
    if (!isUsable)
      throw new WindlassError('Invalid', `address ${wanted} cannot be given to a container of subnet ${cidr}`);
    const owner = findIpv4Owner(spec, address);
    if (owner !== undefined)
      throw new WindlassError('Invalid', `address ${wanted} is kept for the container that has ${owner}`);
  }
  const holder = findIpv6Holder(state, spec.id, address);
  if (holder !== undefined) throw new WindlassError('Conflict', `address ${address} is in use by ${holder}`);
  return { address, prefixLength: range.prefixLength, gateway };
}

function freeInterfaceName(endpoints: readonly EndpointRecord[]): string {
  for (let index = 0; ; index += 1) {
    const name = `eth${index}`;
    if (!endpoints.some((endpoint) => endpoint.name === name)) return name;
  }
}

/** Whether ports of such a sandbox are published on IPv6 addresses, too. */
export const hasIpv6 = (endpoints: readonly EndpointRecord[]): boolean =>
  endpoints.some(({ isIpv6DefaultRoute }) => isIpv6DefaultRoute);

/** The part of an endpoint that callers see. */
export function describeInterface(endpoint: EndpointRecord): NetworkInterface {
  const { network, name, ipv4Address, prefixLength, macAddress, gateway, ipv6 } = endpoint;
  return { network, name, ipv4Address, prefixLength, macAddress, gateway, ...(ipv6 && { ipv6 }) };
}

/** The part of a record that callers see. */
export function describeSandbox(record: SandboxRecord): SandboxNetwork {
  return { interfaces: record.endpoints.map(describeInterface), ports: record.ports };
}
