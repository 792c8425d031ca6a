// The instance's nftables: what stands in it, as data. The skeleton (chains, rules, empty sets) depends on nothing but
// names; all that changes is an element of a set or map, or the small chain of one service.
import { isIPv6 } from 'node:net';
import type { Instance } from '../../lib/instance.ts';
import { kernelNames } from '../../lib/instance.ts';
import { interfaceKey, NF_FAMILY, type SetElement } from '../host/nfnetlink.ts';
import { addressBytes } from '../host/ip-address.ts';
import { ipBytes, macBytes } from '../host/rtnetlink.ts';
import { u16be, u32be } from '../host/netlink.ts';
import type { PublishedPort, ServicePort } from './node-network.ts';

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
  vips: 'set vips { type ipv4_addr; }',
  vipbridges: 'set vipbridges { type ifname . ipv4_addr; }',
  ports: 'map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  ipports: 'map ipports { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }',
  vipports: 'map vipports { type ipv4_addr . inet_proto . inet_service : verdict; }',
  serviceports: 'map serviceports { type inet_proto . inet_service : verdict; }',
  // Overlays of this node by UDP port and VNI (with the reserved byte behind it), and who may send to them.
  vnis: 'set vnis { typeof udp dport . @th,96,32; }',
  peers: 'set peers { typeof ip saddr . @th,96,32; }',
  peers6: 'set peers6 { typeof ip6 saddr . @th,96,32; }',
  // Of table bridge: who may send from a port.
  senders: 'set senders { type ifname . ether_addr . ipv4_addr; }',
} as const;

// Marks a translated packet that leaves by the bridge it came from: the answer must come back here, not go straight to
// the client. Known in `forward` only: with br_netfilter, postrouting of a bridged packet has no input interface.
const BACK_TO_SENDER = '0x00200000';

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
    family: set === 'senders' ? NF_FAMILY.bridge : NF_FAMILY.inet,
    ...{ table, set, key, words },
    ...data,
  });
  return {
    ofBridge: (bridge: string, options: { internal: boolean; isolated: boolean; gateways: readonly string[] }) => {
      const name = interfaceKey(bridge);
      return [
        element('bridges', [name], `"${bridge}"`),
        ...(options.isolated ? [] : [element('same', [name, name], `"${bridge}" . "${bridge}"`)]),
        ...(options.internal ? [element('internal', [name], `"${bridge}"`)] : []),
        ...options.gateways.map((ip) => element('gateways', [name, ipBytes(ip)], `"${bridge}" . ${ip}`)),
      ];
    },
    ofSender: (link: string, mac: string, ip: string) =>
      element('senders', [interfaceKey(link), macBytes(mac), ipBytes(ip)], `"${link}" . ${mac} . ${ip}`),
    ofPort: (port: PublishedPort, ip: string) => {
      const protocol = Buffer.of(PROTOCOL_NUMBER[port.protocol]);
      const data = { data: [ipBytes(ip), u16be(port.containerPort)] };
      const [word, target] = [protocolWord(port.protocol), `${ip} . ${port.containerPort}`];
      return port.hostIp === ''
        ? element('ports', [protocol, u16be(port.hostPort)], `${word} . ${port.hostPort} : ${target}`, data)
        : element(
            'ipports',
            [protocol, ipBytes(port.hostIp), u16be(port.hostPort)],
            `${word} . ${port.hostIp} . ${port.hostPort} : ${target}`,
            data,
          );
    },
    ofVni: (port: number, vni: number) => element('vnis', [u16be(port), vniKey(vni)], `${port} . ${vniWord(vni)}`),
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
    ofServicePort: (port: ServicePort, chain: string) =>
      element(
        'serviceports',
        [Buffer.of(PROTOCOL_NUMBER[port.protocol]), u16be(port.publishedPort)],
        `${protocolWord(port.protocol)} . ${port.publishedPort} : goto ${chain}`,
        { gotoChain: chain },
      ),
  };
}

/** Rules of the chain that spreads one service port over its backends; no backend = no rule = refused. */
export function serviceRules(port: ServicePort): string[] {
  if (port.backends.length === 0) return [];
  const map = port.backends.map(({ ip, port: target }, index) => `${index} : ${ip} . ${target}`).join(', ');
  const choice = port.sessionAffinity ? 'jhash ip saddr' : 'numgen random';
  return [`ip protocol ${protocolWord(port.protocol)} dnat ip to ${choice} mod ${port.backends.length} map { ${map} }`];
}

export interface TableContent {
  readonly elements: readonly TableElement[];
  /** Chain name -> rules. */
  readonly serviceChains: ReadonlyMap<string, readonly string[]>;
}

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
  .filter((key) => key !== 'senders' && key !== 'vipports' && key !== 'serviceports')
  .map(set)
  .join('\n')}
${chains.join('\n')}
${set('vipports')}
${set('serviceports')}
chain tunnel {
  ip saddr . @th,96,32 @peers accept
  ip6 saddr . @th,96,32 @peers6 accept
  drop
}
chain early {
  type filter hook prerouting priority -310; policy accept;
  iifname @bridges ip daddr 127.0.0.0/8 drop
  udp dport . @th,96,32 @vnis jump tunnel
  ip daddr @vips iifname . ip daddr != @vipbridges drop
}
chain translate {
  ip daddr . meta l4proto . th dport vmap @vipports
  fib daddr type != local return
  dnat ip to meta l4proto . ip daddr . th dport map @ipports
  dnat ip to meta l4proto . th dport map @ports
  meta l4proto . th dport vmap @serviceports
}
chain prerouting {
  type nat hook prerouting priority -100; policy accept;
  ip daddr 127.0.0.0/8 return
  meta nfproto ipv4 jump translate
}
chain output {
  type nat hook output priority -100; policy accept;
  meta nfproto ipv4 jump translate
}
chain input {
  type filter hook input priority 0; policy accept;
  ct state established,related accept
  iifname @internal iifname . ip daddr @vipbridges accept
  iifname @internal iifname . ip daddr != @gateways drop
  ip daddr @vips icmp type echo-request accept
  ip daddr @vips reject
}
chain forward {
  type filter hook forward priority 0; policy accept;
  iifname != @bridges oifname != @bridges accept
  ct status dnat iifname . oifname @same meta mark set meta mark or ${BACK_TO_SENDER}
  iifname . oifname @same accept
  iifname @internal drop
  oifname @internal drop
  ct state established,related accept
  ct status dnat accept
  iifname @bridges oifname != @bridges accept
  drop
}
chain postrouting {
  type nat hook postrouting priority 100; policy accept;
  ct status dnat oifname @bridges meta mark and ${BACK_TO_SENDER} != 0 masquerade
  oifname @bridges ip saddr 127.0.0.0/8 masquerade
  meta nfproto ipv4 iifname @bridges oifname != @bridges masquerade
}
}
table bridge ${name} {
${set('senders')}
chain prerouting {
  type filter hook prerouting priority -300; policy accept;
  iifname "${kernelNames.linkPrefix(instance)}v*" goto guard
}
chain guard {
  ether type ip iifname . ether saddr . ip saddr @senders accept
  ether type arp iifname . arp saddr ether . arp saddr ip @senders accept
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
