// The instance's nftables: what stands in it, as data. The skeleton (chains, rules, empty sets) depends on nothing but
// names; all that changes is an element of a set or map, or the small chain of one service.
import { isIPv6 } from 'node:net';
import type { Instance } from '../../lib/instance.ts';
import { kernelNames } from '../../lib/instance.ts';
import { addressBytes } from '../../lib/ip-address.ts';
import { interfaceKey, NF_FAMILY, type SetElement } from '../host/nfnetlink.ts';
import { ipBytes, macBytes } from '../host/rtnetlink.ts';
import { u16, u16be, u32, u32be } from '../host/netlink.ts';
import { hashOf, mix } from './client-order.ts';
import { BACK_TO_SENDER, MASQUERADED, PEER, peerMark } from './marks.ts';
import type { IngressPeer, PublishedPort, ServiceBackend, ServicePort } from './node-network.ts';

export type SetName = keyof typeof SETS;

/** An element both as bytes for nfnetlink and as words for a script. */
export interface TableElement extends SetElement {
  readonly set: SetName;
  readonly words: string;
}

const SETS = {
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

const BRIDGE_SETS: ReadonlySet<SetName> = new Set(['senders', 'senders6', 'targets6', 'macs6']);

const PROTOCOL_NUMBER = { TCP: 6, UDP: 17 } as const;
const protocolWord = (protocol: 'TCP' | 'UDP'): string => protocol.toLowerCase();

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

/** Rules of the chain that spreads one service port over these backends; no backend = no rule = refused. */
export const serviceRules = (port: ServicePort, backends: readonly ServiceBackend[] = port.backends): string[] =>
  spread('ip', port, backends);

/** The same for clients that come by IPv6; the backends have addresses of that family. */
export const serviceIpv6Rules = (port: ServicePort, backends: readonly ServiceBackend[]): string[] =>
  spread('ip6', port, backends);

function spread(family: 'ip' | 'ip6', port: ServicePort, backends: readonly ServiceBackend[]): string[] {
  if (backends.length === 0) return [];
  const targetOf = (backend: ServiceBackend): string =>
    `${family === 'ip' ? backend.ip : backend.ipv6} . ${backend.port}`;
  const targets = port.sessionAffinity ? byClient(backends, targetOf) : backends.map(targetOf);
  const choice = port.sessionAffinity ? `jhash ${family} saddr` : 'numgen random';
  const seed = port.sessionAffinity ? ` seed ${SEED}` : '';
  const match = `${family === 'ip' ? 'ip protocol' : 'meta l4proto'} ${protocolWord(port.protocol)}`;
  const mark = port.clientAddress === 'Masquerade' ? `ct mark set ct mark or ${MASQUERADED} ` : '';
  return [`${match} ${mark}dnat ${family} to ${choice} mod ${targets.length}${seed} map { ${renderRanges(targets)} }`];
}

/** Rules of the chain of a port that is relayed by a listener of this process; the client's packets keep their destination. */
export const relayRules = (listener: number): string[] => [`ip protocol tcp dnat to :${listener}`];

const BUCKETS = 1024;
/** Given, since the kernel would draw another one for each rule: a client stays where it is when a rule is made anew. */
const SEED = '0x77696e64';

/**
 * Clients fall into buckets, and each bucket goes to the backend that scores highest there (rendezvous hashing): one that
 * comes or goes moves its own share of the clients, and every node decides alike, also one that knows only some of the
 * backends, as long as the winner is among them.
 */
function byClient(backends: readonly ServiceBackend[], targetOf: (backend: ServiceBackend) => string): string[] {
  const scored = backends.map((backend) => ({ target: targetOf(backend), hash: hashOf(backend.id) }));
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    let [best, bestScore] = ['', -1];
    for (const { target, hash } of scored) {
      const score = mix(hash ^ Math.imul(bucket + 1, 0x9e3779b1));
      if (score > bestScore) [best, bestScore] = [target, score];
    }
    return best;
  });
}

/** `0 : a, 1-3 : b`: neighbours that are equal share an element. */
function renderRanges(targets: readonly string[]): string {
  const ranges: string[] = [];
  for (let first = 0; first < targets.length;) {
    let last = first;
    while (targets[last + 1] === targets[first]) last += 1;
    ranges.push(`${first === last ? first : `${first}-${last}`} : ${targets[first]}`);
    first = last + 1;
  }
  return ranges.join(', ');
}

export interface TableContent {
  readonly elements: readonly TableElement[];
  /** Chain name -> rules. */
  readonly serviceChains: ReadonlyMap<string, readonly string[]>;
}

/** Their elements name chains. */
const BEHIND_CHAINS: ReadonlySet<SetName> = new Set([
  ...(['vipports', 'serviceports', 'serviceports6', 'ingressports'] as const),
]);

/** A script that replaces both tables of the instance by this content, in one transaction. */
export function renderTables(instance: Instance, content: TableContent): string {
  const name = kernelNames.nftTable(instance);
  const bySet = Map.groupBy(content.elements, ({ set }) => set);
  const set = (key: SetName): string => {
    const words = [...new Set((bySet.get(key) ?? []).map((element) => element.words))];
    return words.length === 0 ? SETS[key] : SETS[key].replace(/ }$/, ` elements = { ${words.join(', ')} }; }`);
  };
  const chains = [...content.serviceChains].map(([chain, rules]) => renderChain(chain, rules));
  return `${renderDeletion(instance)}
table inet ${name} {
${(Object.keys(SETS) as SetName[])
  .filter((key) => !BEHIND_CHAINS.has(key) && !BRIDGE_SETS.has(key))
  .map(set)
  .join('\n')}
${chains.join('\n')}
${[...BEHIND_CHAINS].map(set).join('\n')}
chain tunnel {
  ip saddr . @th,96,32 @peers accept
  ip6 saddr . @th,96,32 @peers6 accept
  drop
}
chain opened {
  udp dport . @th,96,32 @sealed ip6 saddr . @th,96,32 @peers6 accept
  drop
}
chain early {
  type filter hook prerouting priority -310; policy accept;
  ip daddr 127.0.0.0/8 iifname @bridges drop
  iifname "${kernelNames.tunnel(instance)}" goto opened
  udp dport . @th,96,32 @sealed drop
  udp dport . @th,96,32 @vnis jump tunnel
  ip daddr @vips iifname . ip daddr != @vipbridges drop
  ip daddr @ingressips jump arrival
}
chain arrival {
  iifname . ip daddr @ingress ct original zone set ether saddr map @peerzones return
  iifname != "lo" drop
}
chain mesh {
  type filter hook prerouting priority -150; policy accept;
  iifname @ingresslinks goto frompeer
  ct direction reply ct status dnat ct mark and ${PEER.mask} != 0 meta mark set ct mark and ${PEER.mask}
}
chain frompeer {
  iifname . ip daddr @ingress ct state new ct mark set ether saddr map @peermarks
  ct state new ct mark and ${PEER.mask} == 0 drop
  ct state new fib saddr oifname @own fib saddr . iif oif missing drop
  ct state invalid drop
  ct mark and ${PEER.mask} != 0 meta mark set ct mark and ${PEER.mask}
}
chain translate {
  ip daddr . meta l4proto . th dport vmap @vipports
  fib daddr type != local return
  iifname . ip daddr @ingress meta l4proto . th dport vmap @ingressports
  iifname @ingresslinks return
  dnat ip to meta l4proto . ip daddr . th dport map @ipports
  dnat ip to meta l4proto . th dport map @ports
  meta l4proto . th dport vmap @serviceports
}
chain translate6 {
  fib daddr type != local return
  dnat ip6 to meta l4proto . ip6 daddr . th dport map @ipports6
  dnat ip6 to meta l4proto . th dport map @ports6
  meta l4proto . th dport vmap @serviceports6
}
chain prerouting {
  type nat hook prerouting priority -100; policy accept;
  ip daddr 127.0.0.0/8 return
  meta nfproto ipv4 jump translate
  meta nfproto ipv6 jump translate6
}
chain output {
  type nat hook output priority -100; policy accept;
  meta nfproto ipv4 jump translate
  ip6 daddr != ::1 jump translate6
}
chain answer {
  type route hook output priority -150; policy accept;
  ct direction reply ct mark and ${PEER.mask} != 0 meta mark set ct mark and ${PEER.mask}
}
chain relayed {
  ct status and dnat == 0 reject with tcp reset
  iifname @internal reject with tcp reset
}
chain input {
  type filter hook input priority 0; policy accept;
  ct state established,related accept
  tcp dport @relays jump relayed
  iifname @ingresslinks icmp type echo-request accept
  iifname @ingresslinks meta l4proto tcp reject with tcp reset
  iifname @ingresslinks reject
  iifname @internal iifname . ip daddr @vipbridges accept
  iifname @internal iifname . ip daddr != @gateways drop
  iifname @internal icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  iifname @internal iifname . ip6 daddr != @gateways6 drop
  ip daddr @vips icmp type echo-request accept
  ip daddr @vips reject
}
chain forward {
  type filter hook forward priority 0; policy accept;
  ct state established,related tcp flags & (syn | rst) != syn accept
  oifname @ingresslinks goto topeer
  ct state established,related accept
  iifname != @bridges oifname != @bridges accept
  ct status dnat iifname . oifname @same meta mark set meta mark or ${BACK_TO_SENDER}
  iifname . oifname @same accept
  iifname @internal drop
  oifname @internal drop
  ct status dnat accept
  iifname @bridges oifname != @bridges accept
  drop
}
chain topeer {
  tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  ct state established,related accept
  iifname @ingresslinks drop
  iifname @internal drop
  ct status dnat accept
  drop
}
chain outgoing {
  type filter hook postrouting priority -150; policy accept;
  oifname != "${kernelNames.tunnel(instance)}" udp dport . @th,96,32 @sealed drop
  meta mark and ${PEER.mask} != 0 oifname @ingresslinks meta mark set meta mark and ${PEER.rest}
}
chain postrouting {
  type nat hook postrouting priority 100; policy accept;
  ct status dnat oifname @bridges meta mark and ${BACK_TO_SENDER} != 0 masquerade
  oifname @bridges ip saddr 127.0.0.0/8 masquerade
  ct status dnat ct mark and ${MASQUERADED} != 0 masquerade
  oifname @ingresslinks goto leave
  iifname @bridges oifname != @bridges masquerade
}
chain leave {
  iifname @bridges masquerade
  ip saddr 127.0.0.0/8 masquerade
  ip saddr . ip daddr @selfpeers masquerade
}
}
table bridge ${name} {
${[...BRIDGE_SETS].map(set).join('\n')}
chain prerouting {
  type filter hook prerouting priority -300; policy accept;
  iifname "${kernelNames.linkPrefix(instance)}v*" goto guard
}
chain guard {
  ether type ip iifname . ether saddr . ip saddr @senders accept
  ether type arp iifname . arp saddr ether . arp saddr ip @senders accept
  ether type ip6 iifname . ether saddr . ip6 saddr @senders6 goto guard6
  drop
}
chain guard6 {
  meta l4proto != ipv6-icmp accept
  icmpv6 type { nd-router-advert, nd-redirect } drop
  icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 drop
  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } goto discovery
  accept
}
chain discovery {
  ip6 nexthdr != ipv6-icmp drop
  ip6 length 24 accept
  ip6 length 32 iifname . @th,208,48 @macs6 accept
  drop
}
}
`;
}

/** A chain with its rules, one per line: nft 1.0.6 refuses a brace on the line of a rule. */
function renderChain(chain: string, rules: readonly string[]): string {
  return [`chain ${chain} {`, ...rules.map((rule) => `  ${rule}`), '}'].join('\n');
}

/** Deletes both tables; "add" first makes it a success when they are absent. */
export function renderDeletion(instance: Instance): string {
  const name = kernelNames.nftTable(instance);
  return ['inet', 'bridge'].map((family) => `add table ${family} ${name}\ndelete table ${family} ${name}`).join('\n');
}

/** A script that gives service chains new rules and removes those that no element names any more. */
export function renderServiceChains(
  instance: Instance,
  change: { readonly set: ReadonlyMap<string, readonly string[]>; readonly remove: readonly string[] },
): string {
  const at = (chain: string): string => `inet ${kernelNames.nftTable(instance)} ${chain}`;
  const lines = [...change.set].flatMap(([chain, rules]) => [
    `add chain ${at(chain)}`,
    `flush chain ${at(chain)}`,
    ...rules.map((rule) => `add rule ${at(chain)} ${rule}`),
  ]);
  return [...lines, ...change.remove.map((chain) => `delete chain ${at(chain)}`), ''].join('\n');
}
