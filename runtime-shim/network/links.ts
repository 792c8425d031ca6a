// The links of networks and endpoints: bridges on the host, one veth pair per endpoint. Every function brings about a
// state and is fine when (part of) it is there.
import { closeSync, openSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { withNetns } from '../host/namespaces.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import {
  addAddress,
  createBridge,
  createVethPair,
  deleteAddress,
  joinBridge,
  linkIndex,
  listAddresses,
  listLinks,
  openRtnetlink,
  setLinkMac,
  setLinkMtu,
  setLinkUp,
  setUpInterface,
} from '../host/rtnetlink.ts';
import { writeSysctl } from '../host/sysctl.ts';
import { parseCidr } from './ipam.ts';
import { macOf } from './mac.ts';
import type { NetworkSpec } from './node-network.ts';
import type { EndpointRecord } from './records.ts';

/**
 * Addresses of the network's bridge. Every node of an overlay has the gateway's, which is never on the wire; what the
 * bridge sends itself comes from the address that is the node's own.
 */
export function bridgeAddresses(spec: NetworkSpec): { ip: string; prefixLength: number }[] {
  return spec.subnets.flatMap(({ cidr, gateway }, index) => {
    const { prefixLength } = parseCidr(cidr);
    if (!spec.overlay) return [{ ip: gateway, prefixLength }];
    const own = index === 0 ? [{ ip: spec.overlay.nodeIp, prefixLength }] : [];
    return [...own, { ip: gateway, prefixLength: own.length > 0 ? 32 : prefixLength }];
  });
}

/** Makes the network's bridge, up, with its addresses and settings; returns its name. */
export function ensureBridge(socket: NetlinkSocket, instance: Instance, spec: NetworkSpec): string {
  const name = kernelNames.bridge(instance, spec.id);
  const mac = spec.overlay?.nodeMac ?? macOf(`${instance.id}/${spec.id}`);
  if (linkIndex(name) === 0) createBridge(socket, name, { mac, mtu: spec.mtu });
  const index = linkIndex(name);
  const present = listLinks(socket, name).find((link) => link.name === name);
  if (present && present.mtu !== spec.mtu) setLinkMtu(socket, index, spec.mtu);
  if (present && present.mac !== mac) setLinkMac(socket, index, mac);
  setLinkUp(socket, index);
  const addresses = bridgeAddresses(spec);
  for (const { ip, prefixLength } of addresses) addAddress(socket, index, ip, prefixLength);
  if (spec.overlay) removeOtherAddresses(socket, index, addresses);
  // 127.0.0.1 of the host reaches published ports; table `early` keeps containers from using the same way back.
  writeSysctl(`net/ipv4/conf/${name}/route_localnet`, '1');
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '1', { optional: true });
  return name;
}

/** A node whose block went to another one has another address of its own. Those of one host (/32) are virtual ones. */
function removeOtherAddresses(
  socket: NetlinkSocket,
  index: number,
  wanted: readonly { readonly ip: string; readonly prefixLength: number }[],
): void {
  for (const { linkIndex: of, ip, prefixLength } of listAddresses(socket)) {
    if (of !== index || prefixLength === 32) continue;
    if (!wanted.some((address) => address.ip === ip && address.prefixLength === prefixLength))
      deleteAddress(socket, index, ip, prefixLength);
  }
}

/** Connects the namespace: veth pair, the host's end in the bridge, the other end named, addressed and up. */
export function ensureEndpoint(
  socket: NetlinkSocket,
  netnsPath: string,
  bridge: string,
  endpoint: EndpointRecord,
  spec: NetworkSpec,
): void {
  const bridgeIndex = linkIndex(bridge);
  if (linkIndex(endpoint.hostLink) !== 0) return joinBridge(socket, endpoint.hostLink, bridgeIndex, spec.isolated);
  const netnsFd = openNetns(netnsPath);
  try {
    createVethPair(socket, {
      hostName: endpoint.hostLink,
      bridgeIndex,
      peerName: endpoint.name,
      peerMac: endpoint.macAddress,
      netnsFd,
      mtu: spec.mtu,
      isolated: spec.isolated,
    });
  } finally {
    closeSync(netnsFd);
  }
  withNetns(netnsPath, () => {
    using inside = openRtnetlink();
    writeSysctl(`net/ipv6/conf/${endpoint.name}/disable_ipv6`, '1', { optional: true });
    setUpInterface(inside, {
      index: linkIndex(endpoint.name),
      ip: endpoint.ipv4Address,
      prefixLength: endpoint.prefixLength,
      ...(endpoint.isDefaultRoute ? { gateway: endpoint.gateway } : {}),
    });
  });
}

/** Puts `lo` of the namespace up. */
export function ensureLoopback(netnsPath: string): void {
  withNetns(netnsPath, () => {
    using inside = openRtnetlink();
    setLinkUp(inside, 1);
  });
}

function openNetns(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new WindlassError('NotFound', `network namespace ${path} does not exist`, { cause: error });
  }
}
