// The instance's nftables as a script. The skeleton (chains, rules, empty sets) depends on nothing but names; all that
// changes is an element of a set or map, or the small chain of one service.
import type { Instance } from '../../lib/instance.ts';
import { kernelNames } from '../../lib/instance.ts';
import { BACK_TO_SENDER, MASQUERADED, PEER } from './marks.ts';
import { BRIDGE_SETS, SETS, type SetName, type TableElement } from './table-elements.ts';

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
