// Set and map elements of nftables over a raw netlink socket: one transaction per change, no process. Chains and rules,
// which are made once, go through the nft program (nft.ts).
import {
  decodeAttributes,
  encodeAttributes,
  NETLINK,
  NetlinkSocket,
  NLM_F,
  text,
  u32be,
  type Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
} from './netlink.ts';

const SUBSYSTEM = 10;
const BATCH = { begin: 16, end: 17 } as const;
const MESSAGE = { newElement: 12, deleteElement: 14 } as const;
/** Address families of nf_tables (NFPROTO_*). */
export const NF_FAMILY = { inet: 1, ip: 2, bridge: 7 } as const;
const NFTA = { table: 1, set: 2, elements: 3, item: 1, key: 1, data: 2, value: 1, verdict: 2, code: 1, chain: 2 };
const NFT_GOTO = -4;

/** Multicast group with every change of every table. */
export const NFNLGRP_NFTABLES = 7;

export interface SetElement {
  readonly family: number;
  readonly table: string;
  readonly set: string;
  /** Fields of the key; of several each is padded to four bytes here. */
  readonly key: readonly Buffer[];
  /** Maps: fields of the data, or the chain that a verdict map goes to. */
  readonly data?: readonly Buffer[];
  readonly gotoChain?: string;
}

/** An nfnetlink socket in the current net namespace. */
export function openNfnetlink(groups: readonly number[] = []): NetlinkSocket {
  return new NetlinkSocket(NETLINK.netfilter, groups);
}

/** Adds and removes elements in one transaction: all or nothing. Throws ENOENT when the table or an element is absent. */
export function changeElements(
  socket: NetlinkSocket,
  change: { readonly add?: readonly SetElement[]; readonly remove?: readonly SetElement[] },
): void {
  const requests = [
    ...(change.remove ?? []).map((element) => elementRequest(element, MESSAGE.deleteElement)),
    ...(change.add ?? []).map((element) => elementRequest(element, MESSAGE.newElement)),
  ];
  if (requests.length === 0) return;
  socket.request([batchRequest(BATCH.begin), ...requests, batchRequest(BATCH.end)]);
}

/** Removes elements, each on its own if need be, so that one that is gone does not keep the others. */
export function removeElements(socket: NetlinkSocket, elements: readonly SetElement[]): void {
  try {
    changeElements(socket, { remove: elements });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    if (elements.length > 1) for (const element of elements) removeElements(socket, [element]);
  }
}

/** Table named by a multicast message about nf_tables; undefined for messages that concern none. */
export function tableOfMessage(message: NetlinkMessage): string | undefined {
  if (message.type >> 8 !== SUBSYSTEM || message.body.length < 4) return undefined;
  return decodeAttributes(message.body.subarray(4)).get(NFTA.table)?.toString('utf8').replace(/\0.*$/s, '');
}

function elementRequest(element: SetElement, message: number): NetlinkRequest {
  const isAdd = message === MESSAGE.newElement;
  const parts: Attribute[] = [[NFTA.key, [[NFTA.value, concatFields(element.key)]]]];
  if (isAdd && element.data) parts.push([NFTA.data, [[NFTA.value, concatFields(element.data)]]]);
  if (isAdd && element.gotoChain !== undefined) {
    const verdict: Attribute[] = [
      [NFTA.code, u32be(NFT_GOTO)],
      [NFTA.chain, text(element.gotoChain)],
    ];
    parts.push([NFTA.data, [[NFTA.verdict, verdict]]]);
  }
  return {
    type: (SUBSYSTEM << 8) | message,
    flags: NLM_F.ack | (isAdd ? NLM_F.create : 0),
    body: Buffer.concat([
      Buffer.of(element.family, 0, 0, 0),
      encodeAttributes([
        [NFTA.table, text(element.table)],
        [NFTA.set, text(element.set)],
        [NFTA.elements, [[NFTA.item, parts]]],
      ]),
    ]),
    effect: `${isAdd ? 'add' : 'remove'} element of ${element.table} ${element.set}`,
  };
}

function batchRequest(type: number): NetlinkRequest {
  return { type, flags: 0, body: Buffer.of(0, 0, 0, SUBSYSTEM), effect: 'batch' };
}

function concatFields(fields: readonly Buffer[]): Buffer {
  const [only] = fields;
  if (only && fields.length === 1) return only;
  return Buffer.concat(
    fields.map((field) =>
      field.length % 4 === 0 ? field : Buffer.concat([field, Buffer.alloc(4 - (field.length % 4))]),
    ),
  );
}

/** An interface name as nftables stores it: 16 bytes, zero padded. */
export function interfaceKey(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}
