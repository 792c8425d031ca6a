// Attaching sandboxes to networks: plan (pure but for the port sockets), record, then links and table elements.
import { WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { allocateAddress, claimAddress, parseIp, type Lease } from './ipam.ts';
import { macOf } from './mac.ts';
import type { Attachment, NetworkInterface, NetworkSpec, SandboxNetwork } from './node-network.ts';
import type { EndpointRecord, SandboxRecord } from './records.ts';
import { usedAddresses, type NetworkState } from './state.ts';

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
  };
}

function freeInterfaceName(endpoints: readonly EndpointRecord[]): string {
  for (let index = 0; ; index += 1) {
    const name = `eth${index}`;
    if (!endpoints.some((endpoint) => endpoint.name === name)) return name;
  }
}

/** The part of an endpoint that callers see. */
export function describeInterface(endpoint: EndpointRecord): NetworkInterface {
  const { network, name, ipv4Address, prefixLength, macAddress, gateway } = endpoint;
  return { network, name, ipv4Address, prefixLength, macAddress, gateway };
}

/** The part of a record that callers see. */
export function describeSandbox(record: SandboxRecord): SandboxNetwork {
  return { interfaces: record.endpoints.map(describeInterface), ports: record.ports };
}
