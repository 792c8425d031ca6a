// What the resolver knows about the names of a client's networks, and what it does with the rest. Pure.
import { isIPv6 } from 'node:net';
import { addressBytes } from '../../../lib/ip-address.ts';
import { containsIpv6, parseIpv6, parseIpv6Cidr } from '../../../lib/ipv6.ts';
import { contains, parseCidr, parseIp } from '../ipam.ts';
import type { NetworkSpec } from '../node-network.ts';
import type { EndpointRecord } from '../records.ts';
import type { NetworkState } from '../state.ts';
import { encodeName, RCODE, reverseAddress, TYPE, type Answer, type Question } from './message.ts';

export type Decision =
  | { readonly kind: 'answer'; readonly rcode: number; readonly answers: readonly Answer[] }
  | { readonly kind: 'forward' };

/** Networks whose names the client may know: that of the gateway it asked first, then the others it is attached to. */
export function networksOfClient(state: NetworkState, networkId: string, clientIp: string): string[] {
  const sandbox = [...state.sandboxes.values()].find(({ endpoints }) =>
    endpoints.some(({ network, ipv4Address }) => network === networkId && ipv4Address === clientIp),
  );
  return [...new Set([networkId, ...(sandbox?.endpoints.map(({ network }) => network) ?? [])])];
}

/**
 * Decides about a question from a container of the networks. Short names, names below a network's domain and
 * addresses of its subnets are ours alone: unknown ones are answered at once and never leave the node. Everything
 * else is forwarded, unless all networks are internal. A name without an address of the asked type has no data.
 */
export function decide(state: NetworkState, networkIds: readonly string[], question: Question): Decision {
  let isOurs = !question.name.includes('.');
  let mayForward = false;
  for (const networkId of networkIds) {
    const spec = state.networks.get(networkId);
    if (!spec) continue;
    mayForward ||= !spec.internal;
    const reverse = reverseAddress(question.name);
    if (reverse !== undefined && isOwnAddress(spec, reverse)) return answerReverse(state, networkId, question, reverse);
    const domain = spec.domain.toLowerCase();
    const isBelowDomain = domain !== '' && question.name.endsWith(`.${domain}`);
    isOurs ||= isBelowDomain;
    const short = isBelowDomain ? question.name.slice(0, -domain.length - 1) : question.name;
    const addresses = lookUp(state, networkId, short);
    if (addresses) return answerAddresses(question, addresses);
  }
  if (isOurs || !mayForward) return { kind: 'answer', rcode: RCODE.nameError, answers: [] };
  return { kind: 'forward' };
}

/**
 * Addresses of a name in a network: of a Service, else of sandboxes here and on other nodes; undefined when nobody has the
 * name. A Service whose endpoints are all away has the name all the same: no Container takes its place.
 */
export function lookUp(state: NetworkState, networkId: string, name: string): readonly string[] | undefined {
  const names = state.names.get(networkId);
  const known = names?.names.get(name);
  if (known) return known;
  const here = [...state.sandboxes.values()].flatMap(({ endpoints }) =>
    endpoints
      .filter((endpoint) => endpoint.network === networkId && endpoint.names.some((own) => own.toLowerCase() === name))
      .flatMap(({ ipv4Address, ipv6 }) => [ipv4Address, ...(ipv6 ? [ipv6.address] : [])]),
  );
  const found = new Set([...here, ...(names?.elsewhere.get(name) ?? [])]);
  return found.size > 0 ? [...found] : undefined;
}

function answerAddresses(question: Question, addresses: readonly string[]): Decision {
  const answers = shuffle(addresses)
    .map((ip) => ({ type: isIPv6(ip) ? TYPE.aaaa : TYPE.a, data: addressBytes(ip) }))
    .filter(({ type }) => question.type === type || question.type === TYPE.any);
  return { kind: 'answer', rcode: RCODE.noError, answers };
}

function answerReverse(state: NetworkState, networkId: string, question: Question, ip: string): Decision {
  const name = nameOf(state, networkId, ip);
  if (name === undefined) return { kind: 'answer', rcode: RCODE.nameError, answers: [] };
  const domain = state.networks.get(networkId)?.domain ?? '';
  const full = domain === '' ? name : `${name}.${domain}`;
  const answers =
    question.type === TYPE.ptr || question.type === TYPE.any ? [{ type: TYPE.ptr, data: encodeName(full) }] : [];
  return { kind: 'answer', rcode: RCODE.noError, answers };
}

function nameOf(state: NetworkState, networkId: string, ip: string): string | undefined {
  for (const { endpoints } of state.sandboxes.values())
    for (const endpoint of endpoints)
      if (endpoint.network === networkId && hasAddress(endpoint, ip) && endpoint.names[0] !== undefined)
        return endpoint.names[0];
  const { names, elsewhere } = state.names.get(networkId) ?? {};
  for (const map of [elsewhere, names])
    for (const [name, addresses] of map ?? []) if (addresses.includes(ip)) return name;
  return undefined;
}

const hasAddress = ({ ipv4Address, ipv6 }: EndpointRecord, ip: string): boolean =>
  ipv4Address === ip || ipv6?.address === ip;

function isOwnAddress({ subnets, ipv6 }: NetworkSpec, ip: string): boolean {
  if (isIPv6(ip)) return ipv6 !== undefined && containsIpv6(parseIpv6Cidr(ipv6.cidr), parseIpv6(ip));
  if (ip.split('.').some((part) => Number(part) > 255)) return false;
  return subnets.some(({ cidr }) => contains(parseCidr(cidr), parseIp(ip)));
}

/** Clients take the first address: a new order each time spreads them. */
function shuffle<T>(items: readonly T[]): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
  }
  return shuffled;
}
