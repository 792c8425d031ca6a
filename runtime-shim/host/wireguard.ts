// WireGuard devices: made by rtnetlink(7), given keys and peers by the kernel's generic netlink family of that name. A
// private key goes into the kernel; of what the kernel says it is left where it is.
import { isIPv6 } from 'node:net';
import { addressBytes, formatAddress } from '../../lib/ip-address.ts';
import { findFamily, genetlinkAttributes, genetlinkRequest } from './genetlink.ts';
import {
  align,
  decodeAttributes,
  NLM_F,
  text,
  u16,
  u16be,
  u32,
  u8,
  type Attribute,
  type NetlinkRequest,
  type NetlinkSocket,
} from './netlink.ts';
import { IFLA, linkRequest } from './rtnetlink.ts';

const COMMAND = { get: 0, set: 1 } as const;
const DEVICE = { index: 1, privateKey: 3, publicKey: 4, listenPort: 6, peers: 8 } as const;
const PEER = { publicKey: 1, flags: 3, endpoint: 4, allowedIps: 9 } as const;
const PEER_FLAG = { remove: 1, replaceAllowedIps: 2 } as const;
const ALLOWED_IP = { family: 1, address: 2, maskBits: 3 } as const;
const [AF_INET, AF_INET6] = [2, 10];
const KEY_BYTES = 32;

/** Another end: whoever proves to have the private key of `publicKey` may send from `allowedIp`, and gets what is for it. */
export interface WireguardPeer {
  /** Base64. */
  readonly publicKey: string;
  /** Where it is reached: address and UDP port. */
  readonly endpoint: { readonly ip: string; readonly port: number };
  /** Its one address inside the tunnel. */
  readonly allowedIp: string;
}

/** What a device has, as the kernel tells it; keys in base64. */
export interface WireguardDevice {
  readonly publicKey: string;
  readonly listenPort: number;
  /** `endpoint` is '' for a peer that has none. */
  readonly peers: ReadonlyMap<string, { readonly endpoint: string; readonly allowedIps: readonly string[] }>;
}

/** The number of the kernel's WireGuard family; undefined when it has no WireGuard. */
export const findWireguard = (generic: NetlinkSocket): number | undefined => findFamily(generic, 'wireguard');

/** True for the base64 of a key that is not all zeros, which stands for none. */
export function isWireguardKey(key: string): boolean {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(key)) return false;
  const bytes = Buffer.from(key, 'base64');
  return bytes.length === KEY_BYTES && bytes.toString('base64') === key && bytes.some((byte) => byte !== 0);
}

/** Makes the device, down. Fails with EOPNOTSUPP on a kernel without WireGuard, with EEXIST when the name is taken. */
export function createWireguard(links: NetlinkSocket, name: string, mtu: number): void {
  links.request([
    linkRequest(`create WireGuard device ${name}`, { flags: NLM_F.create | NLM_F.excl }, [
      [IFLA.name, text(name)],
      [IFLA.mtu, u32(mtu)],
      [IFLA.linkInfo, [[IFLA.infoKind, text('wireguard')]]],
    ]),
  ]);
}

/** What to change of a device; what is left out stays. */
export interface WireguardChange {
  /** 32 bytes. */
  readonly privateKey?: Buffer;
  readonly listenPort?: number;
  /** Public keys of peers to forget. */
  readonly remove: readonly string[];
  /** Peers to add, or to give another endpoint or address. */
  readonly set: readonly WireguardPeer[];
}

/** Peers in one request: all of them must fit one attribute, whose length has 16 bits. */
const PIECE = 100;

/** Changes the device `index`. Fails with EADDRINUSE when it is up and somebody has the port. */
export function changeWireguard(
  generic: NetlinkSocket,
  { family, index }: { readonly family: number; readonly index: number },
  change: WireguardChange,
): void {
  // One request, one answer: a long queue of them could outgrow the socket's buffer.
  for (const request of changeRequests(family, index, change)) generic.request([request]);
}

/** The requests of changeWireguard(): whoever leaves comes first, as an address goes to whom it was given last. Pure. */
export function changeRequests(
  family: number,
  index: number,
  { privateKey, listenPort, remove, set }: WireguardChange,
): NetlinkRequest[] {
  const own: Attribute[] = [];
  if (privateKey) own.push([DEVICE.privateKey, privateKey]);
  if (listenPort !== undefined) own.push([DEVICE.listenPort, u16(listenPort)]);
  const peers = [...remove.map(removedPeer), ...set.map(wantedPeer)];
  const pieces = [peers.slice(0, PIECE)];
  for (let at = PIECE; at < peers.length; at += PIECE) pieces.push(peers.slice(at, at + PIECE));
  return pieces.map((piece, number) =>
    genetlinkRequest(`set up WireGuard device ${index}`, { family, command: COMMAND.set, flags: NLM_F.ack }, [
      [DEVICE.index, u32(index)],
      ...(number === 0 ? own : []),
      ...(piece.length > 0 ? [[DEVICE.peers, piece.map((peer) => [0, peer] as const)] as const] : []),
    ]),
  );
}

const removedPeer = (publicKey: string): readonly Attribute[] => [
  [PEER.publicKey, Buffer.from(publicKey, 'base64')],
  [PEER.flags, u32(PEER_FLAG.remove)],
];

function wantedPeer({ publicKey, endpoint, allowedIp }: WireguardPeer): readonly Attribute[] {
  const allowed: readonly Attribute[] = [
    [ALLOWED_IP.family, u16(isIPv6(allowedIp) ? AF_INET6 : AF_INET)],
    [ALLOWED_IP.address, addressBytes(allowedIp)],
    [ALLOWED_IP.maskBits, u8(isIPv6(allowedIp) ? 128 : 32)],
  ];
  return [
    [PEER.publicKey, Buffer.from(publicKey, 'base64')],
    [PEER.flags, u32(PEER_FLAG.replaceAllowedIps)],
    [PEER.endpoint, socketAddress(endpoint.ip, endpoint.port)],
    [PEER.allowedIps, [[0, allowed]]],
  ];
}

/** struct sockaddr_in, or sockaddr_in6 without flow label and scope. */
function socketAddress(ip: string, port: number): Buffer {
  return isIPv6(ip)
    ? Buffer.concat([u16(AF_INET6), u16be(port), u32(0), addressBytes(ip), u32(0)])
    : Buffer.concat([u16(AF_INET), u16be(port), addressBytes(ip), Buffer.alloc(8)]);
}

/** What the device `index` has now. Fails with ENODEV when it is gone, with EOPNOTSUPP when it is no WireGuard device. */
export function readWireguard(generic: NetlinkSocket, family: number, index: number): WireguardDevice {
  const ask = { family, command: COMMAND.get, flags: NLM_F.dump };
  const messages = generic.request([
    genetlinkRequest(`read WireGuard device ${index}`, ask, [[DEVICE.index, u32(index)]]),
  ]);
  return decodeWireguard(messages.map(genetlinkAttributes));
}

/** Puts together what the messages of one device say: a peer that did not fit goes on in the next one. Pure. */
export function decodeWireguard(messages: readonly ReadonlyMap<number, Buffer>[]): WireguardDevice {
  const peers = new Map<string, { endpoint: string; allowedIps: string[] }>();
  for (const message of messages) {
    for (const item of decodeList(message.get(DEVICE.peers))) {
      const peer = decodeAttributes(item);
      const key = peer.get(PEER.publicKey)?.toString('base64') ?? '';
      const known = peers.get(key) ?? { endpoint: '', allowedIps: [] };
      known.endpoint ||= formatEndpoint(peer.get(PEER.endpoint));
      for (const allowed of decodeList(peer.get(PEER.allowedIps)).map(decodeAttributes))
        known.allowedIps.push(
          `${formatAddress(allowed.get(ALLOWED_IP.address))}/${allowed.get(ALLOWED_IP.maskBits)?.[0]}`,
        );
      peers.set(key, known);
    }
  }
  const [first] = messages;
  return {
    publicKey: first?.get(DEVICE.publicKey)?.toString('base64') ?? '',
    listenPort: first?.get(DEVICE.listenPort)?.readUInt16LE(0) ?? 0,
    peers,
  };
}

/** `192.0.2.1:51820`, `[fd00::1]:51820`: how an endpoint is compared. */
export const endpointText = (ip: string, port: number): string => (isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`);

function formatEndpoint(bytes: Buffer | undefined): string {
  if (!bytes || bytes.length < 8) return '';
  const address = bytes.readUInt16LE(0) === AF_INET6 ? bytes.subarray(8, 24) : bytes.subarray(4, 8);
  return endpointText(formatAddress(address), bytes.readUInt16BE(2));
}

/** The items of an array: attributes that share one type, which a map would not keep apart. */
function decodeList(bytes: Buffer | undefined): Buffer[] {
  const items: Buffer[] = [];
  for (let at = 0; bytes && at + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    items.push(bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return items;
}
