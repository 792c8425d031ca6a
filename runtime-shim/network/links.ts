// The links of networks and endpoints: bridges on the host, one veth pair per endpoint. Every function brings about a
// state and is fine when (part of) it is there.
import { closeSync, openSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, shortHash, type Instance } from '../../lib/instance.ts';
import { withNetns } from '../host/namespaces.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import {
  addAddress,
  createBridge,
  createVethPair,
  joinBridge,
  linkIndex,
  listLinks,
  openRtnetlink,
  setLinkMtu,
  setLinkUp,
  setUpInterface,
} from '../host/rtnetlink.ts';
import { writeSysctl } from '../host/sysctl.ts';
import { parseCidr } from './ipam.ts';
import type { NetworkSpec } from './node-network.ts';
import type { EndpointRecord } from './records.ts';

/** A locally administered MAC that is always the same for the same name. */
export function macOf(name: string): string {
  return `02:${shortHash(name, 10).replaceAll(/..(?=.)/g, '$&:')}`;
}

/** Makes the network's bridge, up, with its gateway addresses and settings; returns its name. */
export function ensureBridge(socket: NetlinkSocket, instance: Instance, spec: NetworkSpec): string {
  const name = kernelNames.bridge(instance, spec.id);
  if (linkIndex(name) === 0) createBridge(socket, name, { mac: macOf(`${instance.id}/${spec.id}`), mtu: spec.mtu });
  const index = linkIndex(name);
  const present = listLinks(socket, name).find((link) => link.name === name);
  if (present && present.mtu !== spec.mtu) setLinkMtu(socket, index, spec.mtu);
  setLinkUp(socket, index);
  for (const { cidr, gateway } of spec.subnets) addAddress(socket, index, gateway, parseCidr(cidr).prefixLength);
  // 127.0.0.1 of the host reaches published ports; table `early` keeps containers from using the same way back.
  writeSysctl(`net/ipv4/conf/${name}/route_localnet`, '1');
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '1', { optional: true });
  return name;
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
