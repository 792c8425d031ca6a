// Links by rtnetlink(7). "Exists" and "gone" are success where the wanted effect is there.
import { isIPv4 } from 'node:net';
import { libc } from './libc.ts';
import {
  align,
  decodeAttributes,
  encodeAttributes,
  NETLINK,
  NetlinkSocket,
  NLM_F,
  text,
  u8,
  u32,
  type Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
} from './netlink.ts';

/** Multicast groups of changes. */
export const RTNLGRP = { link: 1, neighbour: 3, ipv4Address: 5, ipv4Rule: 8, ipv6Address: 9 } as const;

const RTM = { newLink: 16, delLink: 17, getLink: 18 };
export const IFLA = {
  ...{ address: 1, name: 3, mtu: 4, master: 10, linkInfo: 18, group: 27, netnsFd: 28 },
  ...{
    infoKind: 1,
    infoData: 2,
    infoSlaveKind: 4,
    infoSlaveData: 5,
    vethPeer: 1,
    brportHairpin: 4,
    brportIsolated: 33,
  },
} as const;
const IFF_UP = 1;
const LINK_HEADER_BYTES = 16;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  /** Index of the bridge; 0 = none. */
  readonly master: number;
  readonly mac: string;
  readonly mtu: number;
}

/** An rtnetlink socket in the current net namespace. */
export function openRtnetlink(groups: readonly number[] = []): NetlinkSocket {
  return new NetlinkSocket(NETLINK.route, groups);
}

/** Index of the link in the current net namespace; 0 when there is none. */
export function linkIndex(name: string): number {
  return libc.ifNameToIndex(name);
}

/** Makes a bridge, down, with a fixed MAC so that what neighbours know of it survives its re-creation. */
export function createBridge(socket: NetlinkSocket, name: string, options: { mac: string; mtu: number }): void {
  socket.request([
    linkRequest(`create bridge ${name}`, { flags: NLM_F.create | NLM_F.excl }, [
      [IFLA.name, text(name)],
      [IFLA.address, macBytes(options.mac)],
      [IFLA.mtu, u32(options.mtu)],
      [IFLA.linkInfo, [[IFLA.infoKind, text('bridge')]]],
    ]),
  ]);
}

export interface VethPair {
  readonly hostName: string;
  /** Index of the bridge that the host's end joins. */
  readonly bridgeIndex: number;
  readonly peerName: string;
  readonly peerMac: string;
  /** Open descriptor of the namespace that gets the other end. */
  readonly netnsFd: number;
  readonly mtu: number;
  /** The port exchanges no frames with other isolated ports of its bridge. */
  readonly isolated: boolean;
}

/** Makes a veth pair: one end up and in the bridge, the other inside the namespace, still down. */
export function createVethPair(socket: NetlinkSocket, pair: VethPair): void {
  const peer = Buffer.concat([
    linkHeader({}),
    encodeAttributes([
      [IFLA.name, text(pair.peerName)],
      [IFLA.address, macBytes(pair.peerMac)],
      [IFLA.mtu, u32(pair.mtu)],
      [IFLA.netnsFd, u32(pair.netnsFd)],
    ]),
  ]);
  const requests = [
    linkRequest(`create link ${pair.hostName}`, { up: true, flags: NLM_F.create | NLM_F.excl }, [
      [IFLA.name, text(pair.hostName)],
      [IFLA.mtu, u32(pair.mtu)],
      [IFLA.master, u32(pair.bridgeIndex)],
      [
        IFLA.linkInfo,
        [
          [IFLA.infoKind, text('veth')],
          [IFLA.infoData, [[IFLA.vethPeer, peer]]],
        ],
      ],
    ]),
  ];
  requests.push(portRequest(pair.hostName, pair.isolated));
  socket.request(requests);
}

/** Hairpin: with br_netfilter on, a container reaches its own published port through the very port it came from. */
function portRequest(name: string, isolated: boolean): NetlinkRequest {
  const data: readonly Attribute[] = [
    [IFLA.brportHairpin, u8(1)],
    [IFLA.brportIsolated, u8(isolated ? 1 : 0)],
  ];
  return linkRequest(`set up bridge port ${name}`, {}, [
    [IFLA.name, text(name)],
    [
      IFLA.linkInfo,
      [
        [IFLA.infoSlaveKind, text('bridge')],
        [IFLA.infoSlaveData, data],
      ],
    ],
  ]);
}

/** Puts a link up and into a bridge (again). */
export function joinBridge(socket: NetlinkSocket, name: string, bridgeIndex: number, isolated: boolean): void {
  const requests = [
    linkRequest(`join ${name} to its bridge`, { up: true }, [
      [IFLA.name, text(name)],
      [IFLA.master, u32(bridgeIndex)],
    ]),
  ];
  requests.push(portRequest(name, isolated));
  socket.request(requests);
}

/** Puts a link up. */
export function setLinkUp(socket: NetlinkSocket, index: number): void {
  socket.request([linkRequest(`set link ${index} up`, { up: true, index }, [])]);
}

/** Changes the MTU of a link. */
export function setLinkMtu(socket: NetlinkSocket, index: number, mtu: number): void {
  socket.request([linkRequest(`set mtu of link ${index} to ${mtu}`, { index }, [[IFLA.mtu, u32(mtu)]])]);
}

/** Removes a link (both ends of a veth pair); fine when it is gone. Takes some 20 ms: see deleteLinksInBackground(). */
export function deleteLink(socket: NetlinkSocket, name: string): void {
  try {
    socket.request([deleteLinkRequest(name)]);
  } catch (error) {
    if (!isCode(error, 'ENODEV')) throw error;
  }
}

/**
 * Removes links without holding up this thread while the kernel waits for their last readers; all of them share one
 * wait, for which they are put into the link group `group`, used for nothing else. Links that are gone are fine.
 */
export async function deleteLinksInBackground(names: readonly string[], group: number): Promise<void> {
  using socket = openRtnetlink();
  for (const name of names) {
    try {
      const attributes: readonly Attribute[] = [
        [IFLA.name, text(name)],
        [IFLA.group, u32(group)],
      ];
      socket.request([linkRequest(`put link ${name} into group ${group}`, {}, attributes)]);
    } catch (error) {
      if (!isCode(error, 'ENODEV')) throw error;
    }
  }
  try {
    const body = Buffer.concat([linkHeader({}), encodeAttributes([[IFLA.group, u32(group)]])]);
    await socket.requestInBackground([
      { type: RTM.delLink, flags: NLM_F.ack, body, effect: `delete links ${names.join(', ')}` },
    ]);
  } catch (error) {
    if (!isCode(error, 'ENODEV')) throw error;
  }
}

function deleteLinkRequest(name: string): NetlinkRequest {
  return {
    type: RTM.delLink,
    flags: NLM_F.ack,
    body: Buffer.concat([linkHeader({}), encodeAttributes([[IFLA.name, text(name)]])]),
    effect: `delete link ${name}`,
  };
}

/** Links whose name starts with `prefix`. */
export function listLinks(socket: NetlinkSocket, prefix: string): Link[] {
  return listLinkMessages(socket)
    .map(decodeLink)
    .filter((link) => link.name.startsWith(prefix));
}

/** The kernel's word on every link. */
export function listLinkMessages(socket: NetlinkSocket): NetlinkMessage[] {
  return socket.request([{ type: RTM.getLink, flags: NLM_F.dump, body: linkHeader({}), effect: 'list links' }]);
}

/** The attributes of a message that decodeLink() can read. */
export const linkAttributes = (message: NetlinkMessage): Map<number, Buffer> =>
  decodeAttributes(message.body.subarray(16));

/** True for a message that decodeLink() can read. */
export function isLinkMessage(message: NetlinkMessage): boolean {
  return message.type === RTM.newLink || message.type === RTM.delLink;
}

/** True for the message that a link is gone. */
export const isDeletedLink = (message: NetlinkMessage): boolean => message.type === RTM.delLink;

/** Bytes of a MAC as text; '' for none. */
export const formatMac = (bytes: Buffer | undefined): string =>
  bytes?.toString('hex').replaceAll(/..(?=.)/g, '$&:') ?? '';

/** Decodes a NEWLINK or DELLINK message. */
export function decodeLink({ body }: NetlinkMessage): Link {
  let [name, mac, master, mtu] = ['', '', 0, 0];
  // Some 60 attributes, of which four count, in each of a dozen messages per container: not worth an object each.
  for (let at = LINK_HEADER_BYTES; at + 4 <= body.length;) {
    const length = body.readUInt16LE(at);
    const [start, end] = [at + 4, at + length];
    if (length < 4 || end > body.length) break;
    const type = body.readUInt16LE(at + 2);
    if (type === IFLA.name) name = body.toString('latin1', start, end - 1);
    else if (type === IFLA.address) mac = body.toString('hex', start, end).replaceAll(/..(?=.)/g, '$&:');
    else if (type === IFLA.master) master = body.readUInt32LE(start);
    else if (type === IFLA.mtu) mtu = body.readUInt32LE(start);
    at += align(length);
  }
  return {
    index: body.readInt32LE(4),
    name,
    isUp: (body.readUInt32LE(8) & IFF_UP) !== 0,
    master,
    mac,
    mtu,
  };
}

/** Changes the MAC of a link. */
export function setLinkMac(socket: NetlinkSocket, index: number, mac: string): void {
  socket.request([linkRequest(`set MAC of link ${index} to ${mac}`, { index }, [[IFLA.address, macBytes(mac)]])]);
}

/** A request that makes or changes the link of that index, or of the name among the attributes. */
export function linkRequest(
  effect: string,
  options: { up?: boolean; index?: number; flags?: number },
  attributes: readonly Attribute[],
): NetlinkRequest {
  return {
    type: RTM.newLink,
    flags: NLM_F.ack | (options.flags ?? 0),
    body: Buffer.concat([linkHeader(options), encodeAttributes(attributes)]),
    effect,
  };
}

function linkHeader(options: { up?: boolean; index?: number }): Buffer {
  // struct ifinfomsg: family, pad, type, index, flags, change.
  const header = Buffer.alloc(16);
  header.writeInt32LE(options.index ?? 0, 4);
  if (options.up) {
    header.writeUInt32LE(IFF_UP, 8);
    header.writeUInt32LE(IFF_UP, 12);
  }
  return header;
}

/** The four bytes of an IPv4 address. */
export function ipBytes(ip: string): Buffer {
  if (!isIPv4(ip)) throw new TypeError(`not an IPv4 address: ${ip}`);
  return Buffer.from(ip.split('.').map(Number));
}

/** True for six pairs of hex digits with colons. */
export const isMac = (text: string): boolean => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text);

/** The six bytes of a MAC address. */
export function macBytes(mac: string): Buffer {
  if (!isMac(mac)) throw new TypeError(`not a MAC address: ${mac}`);
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

/** True for an error of the kernel by that name. */
export const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;
