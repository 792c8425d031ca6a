// What an encrypted overlay has besides: on each node whose kernel can encrypt, a key, and an address inside the tunnels.
import { createHash } from 'node:crypto';
import type { Node } from '../../crds/builtin.ts';
import type { NetworkStatus } from '../../crds/network.ts';
import { formatIpv6, parseIpv6 } from '../../lib/ipv6.ts';
import type { NewCondition } from '../runtime/conditions.ts';
import { ENCRYPTION_KEY_ANNOTATION, ENCRYPTION_LACKS_ANNOTATION } from '../runtime/object-key.ts';

export const DEFAULT_WIREGUARD_PORT = 51_820;

/** What a node says about encryption. */
export interface NodeEncryption {
  readonly name: string;
  readonly uid: string;
  /** Its public key; absent where it cannot encrypt. */
  readonly publicKey?: string;
  /** Why it cannot, in words. */
  readonly lacks: string;
}

/** Of what a node says in a message that everybody reads. */
const LONGEST = 200;
const SAYS_NOTHING = 'its agent has not said that it can';

/** What the Node says. What an agent writes is data from another machine: what is no key counts as none. Pure. */
export function readEncryption({ metadata }: Node): NodeEncryption {
  const said = (annotation: string): string => metadata.annotations?.[annotation] ?? '';
  const key = said(ENCRYPTION_KEY_ANNOTATION);
  const node = { name: metadata.name, uid: metadata.uid ?? '', lacks: '' };
  if (isKey(key)) return { ...node, publicKey: key };
  return {
    ...node,
    lacks: key === '' ? said(ENCRYPTION_LACKS_ANNOTATION).slice(0, LONGEST) || SAYS_NOTHING : 'its key is none',
  };
}

/** Thirty-two bytes in base64, as it is written in one way only. */
const isKey = (text: string): boolean =>
  /^[A-Za-z0-9+/]{43}=$/.test(text) && Buffer.from(text, 'base64').toString('base64') === text && !/^A+=$/.test(text);

/**
 * Takes the keys away from nodes that say the same one: with another's key a node would get what is for him. Whoever
 * has it in the network keeps it. Pure.
 */
export function refuseSharedKeys(
  nodes: readonly NodeEncryption[],
  current: NetworkStatus['nodes'] = [],
): NodeEncryption[] {
  const byKey = Map.groupBy(nodes, ({ publicKey }) => publicKey);
  return nodes.map((node) => {
    const { publicKey, ...rest } = node;
    const others = (byKey.get(publicKey) ?? []).filter(({ name }) => name !== node.name);
    if (publicKey === undefined || others.length === 0) return node;
    const isHolder = current.some(({ name, encryptionKey }) => name === node.name && encryptionKey === publicKey);
    const isHeld = current.some(({ name, encryptionKey }) => name !== node.name && encryptionKey === publicKey);
    if (isHolder && !isHeld) return node;
    return { ...rest, lacks: `it has the key of node ${others.map(({ name }) => name).join(', ')}` };
  });
}

/**
 * The address of a node inside the tunnels: unique local ones, 40 bits of them the cluster's and 80 the node's, so that
 * nobody has to give them out.
 */
export function tunnelAddress(clusterId: string, nodeUid: string): string {
  const of = (text: string, digits: number): string => createHash('sha256').update(text).digest('hex').slice(0, digits);
  const digits = `fd${of(`windlass tunnel ${clusterId}`, 10)}${of(`windlass tunnel ${nodeUid}`, 20)}`;
  return formatIpv6(parseIpv6(digits.replaceAll(/....(?=.)/g, '$&:')));
}

const summarise = (nodes: readonly NodeEncryption[]): string => {
  const shown = nodes.slice(0, 5).map(({ name, lacks }) => `${name} (${lacks})`);
  return nodes.length > 5 ? `${shown.join(', ')} and ${nodes.length - 5} more` : shown.join(', ');
};

/** Whether the network can be on all nodes, and on which it cannot. Pure. */
export function encryptedCondition(nodes: readonly NodeEncryption[]): NewCondition {
  const lacking = nodes.filter(({ publicKey }) => publicKey === undefined);
  const type = 'Encrypted';
  if (lacking.length === 0)
    return { type, status: 'True', reason: 'AllNodes', message: `all ${nodes.length} node(s) have keys` };
  const message = `no container of this network runs on node ${summarise(lacking)}`;
  return { type, status: 'False', reason: 'NodesLackEncryption', message };
}

/** Why the network cannot be used, where that is so: no node can encrypt, or one that has containers of it. Pure. */
export function encryptionTrouble(
  nodes: readonly NodeEncryption[],
  users: ReadonlyMap<string, number>,
): { readonly reason: string; readonly message: string } | undefined {
  const lacking = nodes.filter(({ publicKey }) => publicKey === undefined);
  const concerned = lacking.length === nodes.length ? lacking : lacking.filter(({ name }) => users.has(name));
  if (concerned.length === 0) return undefined;
  return { reason: 'EncryptionUnavailable', message: `spec.encrypted: not possible on node ${summarise(concerned)}` };
}
