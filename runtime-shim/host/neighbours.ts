// Static forwarding and neighbour entries by rtnetlink(7): which MAC is behind which port and which host, and which MAC an
// address has. What the kernel learns by itself is not looked at.
import { isIPv6 } from 'node:net';
import { addressBytes, formatAddress } from '../../lib/ip-address.ts';
import {
  decodeAttributes,
  encodeAttributes,
  NLM_F,
  type Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
  type NetlinkSocket,
} from './netlink.ts';
import { formatMac, macBytes } from './rtnetlink.ts';

const RTM = { newNeighbour: 28, delNeighbour: 29, getNeighbour: 30 } as const;
const NDA = { dst: 1, mac: 2, master: 9 } as const;
const AF = { inet: 2, bridge: 7, inet6: 10 } as const;
const STATE = { reachable: 0x02, noArp: 0x40, permanent: 0x80 } as const;
const FLAG = { self: 0x02, master: 0x04 } as const;

/** A MAC that a VXLAN device sends to another host; both the device and its bridge have it. */
export interface ForwardingEntry {
  readonly mac: string;
  /** Address of the host. */
  readonly host: string;
}

/** The MAC of an address behind a link. */
export interface NeighbourEntry {
  readonly ip: string;
  readonly mac: string;
}

/** What a message of the neighbour group tells. */
export interface NeighbourChange {
  readonly isGone: boolean;
  readonly linkIndex: number;
  /** forwarding: `host` of a VXLAN device's own entry, '' of the bridge's; neighbour: `ip`. */
  readonly kind: 'forwarding' | 'neighbour';
  readonly isStatic: boolean;
  readonly ofBridge: boolean;
  readonly mac: string;
  readonly address: string;
}

/** Sets entries of the VXLAN device `index` and of the bridge it is in; one that is there for another host is replaced. */
export function setForwarding(socket: NetlinkSocket, index: number, entries: readonly ForwardingEntry[]): void {
  inPieces(socket, entries, ({ mac, host }) =>
    // Static for the bridge (permanent would mean "this host" there), and never aged by the device.
    request(`forward ${mac} to ${host}`, RTM.newNeighbour, NLM_F.create | NLM_F.replace, [
      header(AF.bridge, index, STATE.noArp | STATE.reachable, FLAG.self | FLAG.master),
      [NDA.mac, macBytes(mac)],
      [NDA.dst, addressBytes(host)],
    ]),
  );
}

/** Removes the entries of both the device and the bridge; fine when one is gone. */
export function removeForwarding(socket: NetlinkSocket, index: number, macs: readonly string[]): void {
  for (const flag of [FLAG.self, FLAG.master]) {
    forgiving(socket, macs, (mac) =>
      request(`stop forwarding ${mac}`, RTM.delNeighbour, 0, [
        header(AF.bridge, index, 0, flag),
        [NDA.mac, macBytes(mac)],
      ]),
    );
  }
}

/** Sets permanent neighbour entries of the link. */
export function setNeighbours(socket: NetlinkSocket, index: number, entries: readonly NeighbourEntry[]): void {
  inPieces(socket, entries, ({ ip, mac }) =>
    request(`set neighbour ${ip} to ${mac}`, RTM.newNeighbour, NLM_F.create | NLM_F.replace, [
      header(familyOf(ip), index, STATE.permanent, 0),
      [NDA.dst, addressBytes(ip)],
      [NDA.mac, macBytes(mac)],
    ]),
  );
}

/** Removes neighbour entries; fine when one is gone. */
export function removeNeighbours(socket: NetlinkSocket, index: number, ips: readonly string[]): void {
  forgiving(socket, ips, (ip) =>
    request(`remove neighbour ${ip}`, RTM.delNeighbour, 0, [
      header(familyOf(ip), index, 0, 0),
      [NDA.dst, addressBytes(ip)],
    ]),
  );
}

/**
 * Static entries of a VXLAN device: `own` are the device's, with their hosts; `bridged` the MACs that its bridge has for it.
 */
export function listForwarding(
  socket: NetlinkSocket,
  index: number,
): { own: ReadonlyMap<string, string>; bridged: ReadonlySet<string> } {
  const own = new Map<string, string>();
  const bridged = new Set<string>();
  for (const entry of list(socket, AF.bridge)) {
    if (entry.linkIndex !== index || !entry.isStatic) continue;
    if (entry.ofBridge) bridged.add(entry.mac);
    else own.set(entry.mac, entry.address);
  }
  return { own, bridged };
}

const familyOf = (ip: string): number => (isIPv6(ip) ? AF.inet6 : AF.inet);

/** Permanent neighbour entries of the link, of both families: address -> MAC. */
export function listNeighbours(socket: NetlinkSocket, index: number): Map<string, string> {
  const all = [...list(socket, AF.inet), ...list(socket, AF.inet6)];
  const entries = all.filter((entry) => entry.linkIndex === index && entry.isStatic);
  return new Map(entries.map(({ address, mac }) => [address, mac]));
}

function list(socket: NetlinkSocket, family: number): NeighbourChange[] {
  const body = Buffer.alloc(12);
  body[0] = family;
  return socket
    .request([{ type: RTM.getNeighbour, flags: NLM_F.dump, body, effect: 'list neighbours' }])
    .flatMap((message) => decodeNeighbour(message) ?? []);
}

/** Decodes a message about a forwarding or a neighbour entry; undefined for any other. */
export function decodeNeighbour(message: NetlinkMessage): NeighbourChange | undefined {
  if (message.type !== RTM.newNeighbour && message.type !== RTM.delNeighbour) return undefined;
  const family = message.body[0];
  if (family !== AF.bridge && family !== AF.inet && family !== AF.inet6) return undefined;
  const attributes = decodeAttributes(message.body.subarray(12));
  const state = message.body.readUInt16LE(8);
  const ofBridge = attributes.has(NDA.master);
  const isForwarding = family === AF.bridge;
  return {
    isGone: message.type === RTM.delNeighbour,
    linkIndex: message.body.readInt32LE(4),
    kind: isForwarding ? 'forwarding' : 'neighbour',
    // Of a bridge, permanent is the MAC of the port itself.
    isStatic: isForwarding
      ? (state & STATE.noArp) !== 0 || (!ofBridge && (state & STATE.permanent) !== 0)
      : (state & STATE.permanent) !== 0,
    ofBridge,
    mac: formatMac(attributes.get(NDA.mac)),
    address: formatAddress(attributes.get(NDA.dst)),
  };
}

/** struct ndmsg: family, pads, link index, state, flags, type. */
function header(family: number, index: number, state: number, flags: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes[0] = family;
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt16LE(state, 8);
  bytes[10] = flags;
  return bytes;
}

function request(
  effect: string,
  type: number,
  flags: number,
  [head, ...attributes]: readonly [Buffer, ...Attribute[]],
): NetlinkRequest {
  return { type, flags: NLM_F.ack | flags, body: Buffer.concat([head, encodeAttributes(attributes)]), effect };
}

/** Acknowledgements of one call must fit the socket's receive buffer. */
const PIECE = 100;

function inPieces<T>(socket: NetlinkSocket, items: readonly T[], toRequest: (item: T) => NetlinkRequest): void {
  for (let at = 0; at < items.length; at += PIECE) socket.request(items.slice(at, at + PIECE).map(toRequest));
}

/** One that is gone hides what else went wrong with its piece: then each is asked for on its own. */
function forgiving<T>(socket: NetlinkSocket, items: readonly T[], toRequest: (item: T) => NetlinkRequest): void {
  for (let at = 0; at < items.length; at += PIECE) {
    const piece = items.slice(at, at + PIECE);
    try {
      socket.request(piece.map(toRequest));
    } catch (error) {
      if (!['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      if (piece.length > 1) for (const item of piece) forgiving(socket, [item], toRequest);
    }
  }
}
