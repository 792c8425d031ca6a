// The way back: answers to a connection that another node handed on leave by that node, which alone can translate them
// for the client. The connection carries the node's mark, the mark leads to a routing table, the table to the node.
import { kernelNames, type Instance } from '../../lib/instance.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import {
  addRule,
  deleteDefaultRoute,
  deleteRule,
  listDefaultRoutes,
  listRules,
  replaceDefaultRoute,
  type RoutingRule,
} from '../host/policy-routing.ts';
import { linkIndex } from '../host/rtnetlink.ts';
import { readSysctl, writeSysctl } from '../host/sysctl.ts';
import { PEER, peerMark, peerNumber } from './marks.ts';
import { ingressOf, type NetworkState } from './state.ts';

/** Behind the rule for the host's own addresses, before those that administrators and VPNs make. */
const FIRST_PREFERENCE = 1000;
const INSTANCES = 0x1000;
const RULES = 4;
const TABLES = 0x77000000;

const mask = Number(PEER.mask);

/** Where the rules and tables of the instance are: found again from the kernel alone. */
function rangesOf(instance: Instance): { preference: number; table: number } {
  const own = Number.parseInt(instance.id.slice(0, 4), 16) % INSTANCES;
  return { preference: FIRST_PREFERENCE + own * RULES, table: TABLES + own * (PEER.max + 1) };
}

export interface IngressRoutes {
  readonly rules: readonly RoutingRule[];
  /** Table -> gateway. */
  readonly gateways: ReadonlyMap<number, string>;
}

/** The rules and tables for these peers (number -> address). Pure. */
export function planIngressRoutes(
  instance: Instance,
  bridge: string,
  peers: ReadonlyMap<number, string>,
): IngressRoutes {
  if (peers.size === 0) return { rules: [], gateways: new Map() };
  const { preference, table } = rangesOf(instance);
  const end = preference + RULES - 1;
  return {
    rules: [
      // One look for all packets that are no answer, ...
      { preference, mark: { value: 0, mask }, action: { goto: end } },
      // ... and for what comes in: it carries the mark for the reverse path filter only.
      { preference: preference + 1, inputLink: bridge, action: { goto: end } },
      ...[...peers.keys()].map((number) => ({
        preference: preference + 2,
        mark: { value: peerMark(number), mask },
        action: { table: table + number },
      })),
      { preference: end, action: 'nop' },
    ],
    gateways: new Map([...peers].map(([number, ip]) => [table + number, ip])),
  };
}

/** Makes rules, tables and settings equal to the state; returns how many differed. */
export function syncIngressRoutes(instance: Instance, state: NetworkState, socket: NetlinkSocket): number {
  const ingress = ingressOf(state);
  const bridge = ingress ? kernelNames.bridge(instance, ingress.network) : '';
  const link = ingress ? linkIndex(bridge) : 0;
  const peers = new Map<number, string>();
  for (const { ip } of ingress && link !== 0 ? ingress.peers : []) {
    const number = ingress && peerNumber(ingress.cidr, ip);
    if (number !== undefined) peers.set(number, ip);
  }
  const plan = planIngressRoutes(instance, bridge, peers);
  if (peers.size > 0) allowSources(bridge);
  return syncRoutes(socket, instance, plan, link);
}

/** Removes every rule and table of the instance, found from the kernel alone. */
export function removeIngressRoutes(instance: Instance, socket: NetlinkSocket): void {
  syncRoutes(socket, instance, { rules: [], gateways: new Map() }, 0);
}

/**
 * A table is filled after its rule is there, and emptied before that goes: whatever ends this in between, the rules name
 * every table there is, and nobody has to list all routes of the host to find them.
 */
function syncRoutes(
  socket: NetlinkSocket,
  instance: Instance,
  { rules, gateways }: IngressRoutes,
  link: number,
): number {
  const { preference } = rangesOf(instance);
  const present = listRules(socket, preference, preference + RULES - 1).filter((rule) => isOwnRule(instance, rule));
  const [has, wants] = [new Set(present.map(keyOfRule)), new Set(rules.map(keyOfRule))];
  const add = rules.filter((rule) => !has.has(keyOfRule(rule)));
  const remove = present.filter((rule) => !wants.has(keyOfRule(rule)));
  // The target of a jump first.
  for (const rule of add.toReversed()) addRule(socket, rule);
  const tables = new Set([...gateways.keys(), ...present.flatMap(tableOfRule)]);
  const changes = syncTables(socket, tables, gateways, link);
  for (const rule of remove) deleteRule(socket, rule);
  return add.length + changes + remove.length;
}

const keyOfRule = ({ preference, mark, inputLink, action }: RoutingRule): string =>
  JSON.stringify([preference, mark?.value, mark?.mask, inputLink, action]);

const tableOfRule = ({ action }: RoutingRule): number[] =>
  action !== 'nop' && 'table' in action ? [action.table] : [];

/** Clients' addresses come in by this link, although the way to them is another one: the mark tells the filter why. */
function allowSources(bridge: string): void {
  writeSysctl(`net/ipv4/conf/${bridge}/src_valid_mark`, '1');
  // Loose and off stay as they are; where the host is strict, the mark satisfies it.
  if (readSysctl('net/ipv4/conf/all/rp_filter') === '0') writeSysctl(`net/ipv4/conf/${bridge}/rp_filter`, '0');
}

/** Whether the instance made the rule: somebody else's may have one of its preferences. Pure. */
export function isOwnRule(instance: Instance, { preference, mark, inputLink, action }: RoutingRule): boolean {
  const { preference: first, table } = rangesOf(instance);
  const end = first + RULES - 1;
  if (action === 'nop') return preference === end && mark === undefined && inputLink === undefined;
  if ('goto' in action) return action.goto === end;
  return action.table >= table && action.table <= table + PEER.max;
}

function syncTables(
  socket: NetlinkSocket,
  tables: ReadonlySet<number>,
  wanted: ReadonlyMap<number, string>,
  link: number,
): number {
  const present = listDefaultRoutes(socket, tables);
  let changes = 0;
  for (const [number, gateway] of wanted) {
    const route = present.get(number);
    if (route?.gateway === gateway && route.link === link) continue;
    replaceDefaultRoute(socket, number, { gateway, link });
    changes += 1;
  }
  for (const number of present.keys()) {
    if (wanted.has(number)) continue;
    deleteDefaultRoute(socket, number);
    changes += 1;
  }
  return changes;
}
