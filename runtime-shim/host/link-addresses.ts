// Addresses and routes of links by rtnetlink(7). "Exists" and "gone" are success where the wanted effect is there.
import { isIPv6 } from 'node:net';
import { addressBytes, formatAddress } from '../../lib/ip-address.ts';
import {
  decodeAttributes,
  encodeAttributes,
  NLM_F,
  u32,
  type Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
  type NetlinkSocket,
} from './netlink.ts';
import { isCode, linkRequest } from './rtnetlink.ts';

const RTM = { newAddress: 20, delAddress: 21, getAddress: 22, newRoute: 24 };
const IFA = { address: 1, local: 2, cacheInfo: 6, flags: 8 } as const;
const IFA_F_NODAD = 0x02;
const FOR_EVER = 0xffff_ffff;
const RTA = { gateway: 5, oif: 4 } as const;
const [AF_INET, AF_INET6] = [2, 10];

export interface Address {
  readonly linkIndex: number;
  readonly ip: string;
  readonly prefixLength: number;
}

export interface AddressToAdd {
  readonly ip: string;
  readonly prefixLength: number;
  /** IPv6: not for what this host sends by itself as long as the link has another one. */
  readonly isDeprecated?: boolean;
}

/** Adds an address, which can be used at once; fine when the link has it. */
export function addAddress(socket: NetlinkSocket, index: number, address: AddressToAdd): void {
  try {
    socket.request([addressRequest(index, address)]);
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  }
}

/** Removes an address; fine when the link has not got it. */
export function deleteAddress(socket: NetlinkSocket, index: number, ip: string, prefixLength: number): void {
  try {
    socket.request([{ ...addressRequest(index, { ip, prefixLength }), type: RTM.delAddress, flags: NLM_F.ack }]);
  } catch (error) {
    if (!isCode(error, 'EADDRNOTAVAIL') && !isCode(error, 'ENODEV')) throw error;
  }
}

/** Every address of one family of the current net namespace. */
export function listAddresses(socket: NetlinkSocket, family: 'IPv4' | 'IPv6' = 'IPv4'): Address[] {
  const body = Buffer.alloc(8);
  body[0] = family === 'IPv4' ? AF_INET : AF_INET6;
  return socket
    .request([{ type: RTM.getAddress, flags: NLM_F.dump, body, effect: 'list addresses' }])
    .flatMap((message) => {
      const attributes = decodeAttributes(message.body.subarray(8));
      const ip = formatAddress(attributes.get(IFA.local) ?? attributes.get(IFA.address));
      if (ip === '') return [];
      return [{ linkIndex: message.body.readUInt32LE(4), ip, prefixLength: message.body[1] ?? 32 }];
    });
}

/** Index of the link that lost an address, as a message of a group of addresses tells; undefined for any other message. */
export const linkOfLostAddress = (message: NetlinkMessage): number | undefined =>
  message.type === RTM.delAddress ? message.body.readUInt32LE(4) : undefined;

export interface InterfaceSetup {
  readonly index: number;
  readonly addresses: readonly AddressToAdd[];
  /** Default routes by these gateways, one of a family. */
  readonly gateways: readonly string[];
}

/** Inside a sandbox: lo up, the interface up with its addresses, and its default routes, in one message to the kernel. */
export function setUpInterface(socket: NetlinkSocket, { index, addresses, gateways }: InterfaceSetup): void {
  socket.request([
    linkRequest('set lo up', { up: true, index: 1 }, []),
    linkRequest(`set link ${index} up`, { up: true, index }, []),
    ...addresses.map((address) => addressRequest(index, address)),
    ...gateways.map((gateway) => defaultRouteRequest(gateway, index)),
  ]);
}

function defaultRouteRequest(gateway: string, index: number): NetlinkRequest {
  // struct rtmsg: family, dst_len, src_len, tos, table main, protocol static, scope universe, type unicast, flags.
  const header = Buffer.of(familyOf(gateway), 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0);
  return {
    type: RTM.newRoute,
    flags: NLM_F.ack | NLM_F.create | NLM_F.replace,
    body: Buffer.concat([
      header,
      encodeAttributes([
        [RTA.gateway, addressBytes(gateway)],
        [RTA.oif, u32(index)],
      ]),
    ]),
    effect: `add default route via ${gateway}`,
  };
}

const familyOf = (ip: string): number => (isIPv6(ip) ? AF_INET6 : AF_INET);

function addressRequest(index: number, { ip, prefixLength, isDeprecated }: AddressToAdd): NetlinkRequest {
  const header = Buffer.alloc(8);
  header[0] = familyOf(ip);
  header[1] = prefixLength;
  header.writeUInt32LE(index, 4);
  const attributes: Attribute[] = [
    [IFA.local, addressBytes(ip)],
    [IFA.address, addressBytes(ip)],
  ];
  // Nobody else gives out addresses here: to ask around for a second whether somebody has it would only delay its use.
  if (isIPv6(ip)) attributes.push([IFA.flags, u32(IFA_F_NODAD)]);
  // struct ifa_cacheinfo: preferred and valid for so many seconds, and two times that the kernel fills in.
  if (isDeprecated) attributes.push([IFA.cacheInfo, Buffer.concat([u32(0), u32(FOR_EVER), u32(0), u32(0)])]);
  return {
    type: RTM.newAddress,
    flags: NLM_F.ack | NLM_F.create | NLM_F.excl,
    body: Buffer.concat([header, encodeAttributes(attributes)]),
    effect: `add address ${ip}/${prefixLength}`,
  };
}
