// What changes in the instance's nftables, as data: the elements of its sets and maps.
import { isIPv6 } from 'node:net';
import type { Instance } from '../../lib/instance.ts';
import { kernelNames } from '../../lib/instance.ts';
import { addressBytes } from '../../lib/ip-address.ts';
import { interfaceKey, NF_FAMILY, type SetElement } from '../host/nfnetlink.ts';
import { ipBytes, macBytes } from '../host/rtnetlink.ts';
import { u16, u16be, u32, u32be } from '../host/netlink.ts';
import { peerMark } from './marks.ts';
import type { IngressPeer, PublishedPort, ServicePort } from './node-network.ts';

export type SetName = keyof typeof SETS;

/** An element both as bytes for nfnetlink and as words for a script. */
export interface TableElement extends SetElement {
  readonly set: SetName;
  readonly words: string;
}

/** How each set or map is declared. */
export const SETS = {
  bridges: 'set bridges { type ifname; }',
  internal: 'set internal { type ifname; }',
  // (in, out) pairs that may talk freely: a bridge and itself.
  same: 'set same { type ifname . ifname; }',
  gateways: 'set gateways { type ifname . ipv4_addr; }',
  gateways6: 'set gateways6 { type ifname . ipv6_addr; }',
  vips: 'set vips { type ipv4_addr; }',
  vipbridges: 'set vipbridges { type ifname . ipv4_addr; }',
  ports: 'map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  ipports: 'map ipports { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }',
  ports6: 'map ports6 { type inet_proto . inet_service : ipv6_addr . inet_service; }',
  ipports6: 'map ipports6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }',
  vipports: 'map vipports { type ipv4_addr . inet_proto . inet_service : verdict; }',
  serviceports: 'map serviceports { type inet_proto . inet_service : verdict; }',
  serviceports6: 'map serviceports6 { type inet_proto . inet_service : verdict; }',
  // Ports where this process takes what was published on others; nobody else gets there.
  relays: 'set relays { type inet_service; }',
  // Overlays of this node by UDP port and VNI (with the reserved byte behind it), and who may send to them.
  vnis: 'set vnis { typeof udp dport . @th,96,32; }',
  // Those that are encrypted, which no packet outside the tunnels may have.
  sealed: 'set sealed { typeof udp dport . @th,96,32; }',
  peers: 'set peers { typeof ip saddr . @th,96,32; }',
  peers6: 'set peers6 { typeof ip6 saddr . @th,96,32; }',
  // The network that carries published ports between nodes: its bridge here, with this node's address, ...
  ingresslinks: 'set ingresslinks { type ifname; }',
  ingress: 'set ingress { type ifname . ipv4_addr; }',
  ingressips: 'set ingressips { type ipv4_addr; }',
  // ... the ports that other nodes send here, ...
  ingressports: 'map ingressports { type inet_proto . inet_service : verdict; }',
  // ... and the other nodes by the MAC of their bridge. Two of them may send what looks like one connection.
  peermarks: 'map peermarks { type ether_addr : mark; }',
  peerzones: 'map peerzones { typeof ether saddr : ct zone; }',
  // (address of a node, its address in that network)
  selfpeers: 'set selfpeers { type ipv4_addr . ipv4_addr; }',
  // The bridges again, in the type that a route look-up has.
  own: 'set own { typeof fib saddr oifname; }',
  // Of table bridge: who may send from a port, ...
  senders: 'set senders { type ifname . ether_addr . ipv4_addr; }',
  senders6: 'set senders6 { type ifname . ether_addr . ipv6_addr; }',
  // ... and which address and MAC it may say to be its own in neighbour discovery.
  targets6: 'set targets6 { typeof iifname . @th,64,128; }',
  macs6: 'set macs6 { typeof iifname . @th,208,48; }',
} as const;

/** Those of table bridge; the others are of table inet. */
export const BRIDGE_SETS: ReadonlySet<SetName> = new Set(['senders', 'senders6', 'targets6', 'macs6']);

const PROTOCOL_NUMBER = { TCP: 6, UDP: 17 } as const;
/** As nft writes it. */
export const protocolWord = (protocol: 'TCP' | 'UDP'): string => protocol.toLowerCase();

const vniKey = (vni: number): Buffer => u32be(vni * 256);
const vniWord = (vni: number): string => `0x${(vni * 256).toString(16)}`;

/** Constructors of the elements of one instance's tables. */
export function describeElements(instance: Instance) {
  const table = kernelNames.nftTable(instance);
  const element = (
    set: SetName,
    key: readonly Buffer[],
    words: string,
    data?: { data: readonly Buffer[] } | { gotoChain: string },
  ): TableElement => ({
    family: BRIDGE_SETS.has(set) ? NF_FAMILY.bridge : NF_FAMILY.inet,
    ...{ table, set, key, words },
    ...data,
  });
  return {
    ofBridge: (bridge: string, options: { internal: boolean; isolated: boolean; gateways: readonly string[] }) => {
      const name = interfaceKey(bridge);
      return [
        element('bridges', [name], `"${bridge}"`),
        element('own', [name], `"${bridge}"`),
        ...(options.isolated ? [] : [element('same', [name, name], `"${bridge}" . "${bridge}"`)]),
        ...(options.internal ? [element('internal', [name], `"${bridge}"`)] : []),
        ...options.gateways.map((ip) =>
          element(isIPv6(ip) ? 'gateways6' : 'gateways', [name, addressBytes(ip)], `"${bridge}" . ${ip}`),
        ),
      ];
    },
    ofSender: (link: string, mac: string, ip: string) =>
      element('senders', [interfaceKey(link), macBytes(mac), ipBytes(ip)], `"${link}" . ${mac} . ${ip}`),
    /** What the endpoint may send by IPv6, from these addresses. */
    ofIpv6Sender: (link: string, mac: string, ips: readonly string[]) => {
      const name = interfaceKey(link);
      return [
        ...ips.flatMap((ip) => [
          element('senders6', [name, macBytes(mac), addressBytes(ip)], `"${link}" . ${mac} . ${ip}`),
          element('targets6', [name, addressBytes(ip)], `"${link}" . 0x${addressBytes(ip).toString('hex')}`),
        ]),
        element('macs6', [name, macBytes(mac)], `"${link}" . 0x${macBytes(mac).toString('hex')}`),
      ];
    },
    /** None where the port is published on an address of the other family than the endpoint's. */
    ofPort: (port: PublishedPort, ip: string) => {
      const isIpv6 = isIPv6(ip);
      const [hostIp, wildcard] = [port.hostIp, isIpv6 ? '::' : '0.0.0.0'];
      if (hostIp !== '' && isIPv6(hostIp) !== isIpv6) return [];
      const protocol = Buffer.of(PROTOCOL_NUMBER[port.protocol]);
      const data = { data: [addressBytes(ip), u16be(port.containerPort)] };
      const [word, target] = [protocolWord(port.protocol), `${ip} . ${port.containerPort}`];
      if (hostIp === '' || hostIp === wildcard) {
        const words = `${word} . ${port.hostPort} : ${target}`;
        return [element(isIpv6 ? 'ports6' : 'ports', [protocol, u16be(port.hostPort)], words, data)];
      }
      const key = [protocol, addressBytes(hostIp), u16be(port.hostPort)];
      const words = `${word} . ${hostIp} . ${port.hostPort} : ${target}`;
      return [element(isIpv6 ? 'ipports6' : 'ipports', key, words, data)];
    },
    ofRelay: (port: number) => element('relays', [u16be(port)], `${port}`),
    ofVni: (port: number, vni: number) => element('vnis', [u16be(port), vniKey(vni)], `${port} . ${vniWord(vni)}`),
    ofSealedVni: (port: number, vni: number) =>
      element('sealed', [u16be(port), vniKey(vni)], `${port} . ${vniWord(vni)}`),
    ofPeer: (host: string, vni: number) =>
      element(isIPv6(host) ? 'peers6' : 'peers', [addressBytes(host), vniKey(vni)], `${host} . ${vniWord(vni)}`),
    ofVip: (bridge: string, ip: string) => [
      element('vips', [ipBytes(ip)], ip),
      element('vipbridges', [interfaceKey(bridge), ipBytes(ip)], `"${bridge}" . ${ip}`),
    ],
    ofVipPort: (port: ServicePort, chain: string) =>
      element(
        'vipports',
        [ipBytes(port.virtualIp), Buffer.of(PROTOCOL_NUMBER[port.protocol]), u16be(port.port)],
        `${port.virtualIp} . ${protocolWord(port.protocol)} . ${port.port} : goto ${chain}`,
        { gotoChain: chain },
      ),
    ofIngress: (bridge: string, ip: string) => {
      const name = interfaceKey(bridge);
      return [
        element('ingresslinks', [name], `"${bridge}"`),
        element('ingress', [name, ipBytes(ip)], `"${bridge}" . ${ip}`),
        element('ingressips', [ipBytes(ip)], ip),
      ];
    },
    ofIngressPeer: ({ ip, mac, hosts }: IngressPeer, number: number) => {
      const [mark, zone] = [{ data: [u32(peerMark(number))] }, { data: [u16(number)] }];
      return [
        element('peermarks', [macBytes(mac)], `${mac} : ${peerMark(number)}`, mark),
        element('peerzones', [macBytes(mac)], `${mac} : ${number}`, zone),
        ...hosts.map((host) => element('selfpeers', [ipBytes(host), ipBytes(ip)], `${host} . ${ip}`)),
      ];
    },
    ofServicePort: (set: 'serviceports' | 'serviceports6' | 'ingressports', port: ServicePort, chain: string) =>
      element(
        set,
        [Buffer.of(PROTOCOL_NUMBER[port.protocol]), u16be(port.publishedPort)],
        `${protocolWord(port.protocol)} . ${port.publishedPort} : goto ${chain}`,
        { gotoChain: chain },
      ),
  };
}
