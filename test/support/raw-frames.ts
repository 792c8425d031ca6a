// Ethernet frames as they are, sent and received on a link of a network namespace. Main thread only, as root.
import { closeSync } from 'node:fs';
import { addressBytes } from '../../lib/ip-address.ts';
import { check, libc } from '../../runtime-shim/host/libc.ts';
import { withNetns } from '../../runtime-shim/host/namespaces.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_ALL_BE = 0x0300;
const MSG_DONTWAIT = 0x40;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export interface RawSocket extends Disposable {
  send(frame: Buffer): void;
  /** What has come since the last time. */
  receive(): Buffer[];
}

/** A socket on `link` in the namespace pinned at `netns`. */
export function openRawSocket(netns: string, link: string): RawSocket {
  const fd = withNetns(netns, () => {
    const socket = check(libc.socket(AF_PACKET, SOCK_RAW, ETH_P_ALL_BE), 'socket');
    // struct sockaddr_ll
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16LE(ETH_P_ALL_BE, 2);
    address.writeInt32LE(libc.ifNameToIndex(link), 4);
    check(libc.bind(socket, address, address.length), 'bind', link);
    return socket;
  });
  return {
    send: (frame) => void check(libc.send(fd, frame, frame.length, 0), 'send', link),
    receive() {
      const frames: Buffer[] = [];
      for (;;) {
        const buffer = Buffer.alloc(2048);
        const length = libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
        if (length <= 0) return frames;
        frames.push(buffer.subarray(0, length));
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
const ip = (text: string): Buffer => Buffer.from(text.split('.').map(Number));

/** Without padding, which a packet filter may cut off: virtual links want none. */
function frame(from: string, type: number, payload: Buffer): Buffer {
  return Buffer.concat([mac(BROADCAST), mac(from), Buffer.from([type >> 8, type & 0xff]), payload]);
}

/** "Address `is` lives at `at`", said to everybody by `from`. */
export function arpReply(from: string, is: string, at = from): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, 2]);
  return frame(from, 0x0806, Buffer.concat([head, mac(at), ip(is), mac(BROADCAST), ip(is)]));
}

/** An empty IPv4 packet. */
export function ipv4Packet(from: string, source: string, destination: string): Buffer {
  const header = Buffer.from([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, ...ip(source), ...ip(destination)]);
  let sum = 0;
  for (let index = 0; index < header.length; index += 2) sum += header.readUInt16BE(index);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  header.writeUInt16BE(~sum & 0xffff, 10);
  return frame(from, 0x0800, header);
}

/** An ICMPv6 message. */
function icmpv6(from: string, source: string, destination: string, type: number, body: Buffer): Buffer {
  const addresses = Buffer.concat([addressBytes(source), addressBytes(destination)]);
  const message = Buffer.concat([Buffer.from([type, 0, 0, 0]), body]);
  const pseudo = Buffer.concat([addresses, Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58]), message]);
  let sum = 0;
  for (let index = 0; index < pseudo.length; index += 2) sum += pseudo.readUInt16BE(index);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  message.writeUInt16BE(~sum & 0xffff, 2);
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  return frame(from, 0x86dd, Buffer.concat([header, addresses, message]));
}

const ALL_NODES = 'ff02::1';
const option = (type: number, at: string): Buffer => Buffer.concat([Buffer.from([type, 1]), mac(at)]);

/** "`is` lives at `at`", said to everybody by `source`. */
export function neighbourAdvertisement(from: string, source: string, is: string, at = from): Buffer {
  return icmpv6(
    from,
    source,
    ALL_NODES,
    136,
    Buffer.concat([Buffer.from([0x20, 0, 0, 0]), addressBytes(is), option(2, at)]),
  );
}

/** "Who has `wanted`? `source`, which asks, lives at `at`." */
export function neighbourSolicitation(from: string, source: string, wanted: string, at = from): Buffer {
  return icmpv6(from, source, ALL_NODES, 135, Buffer.concat([Buffer.alloc(4), addressBytes(wanted), option(1, at)]));
}

/** An IPv6 packet with nothing behind its header. */
export function ipv6Packet(from: string, source: string, destination: string): Buffer {
  const header = Buffer.from([0x60, 0, 0, 0, 0, 0, 59, 64]);
  return frame(from, 0x86dd, Buffer.concat([header, addressBytes(source), addressBytes(destination)]));
}

/** An IPv6 router advertisement to all nodes. */
export function routerAdvertisement(from: string, source = 'fe80::200:ff:fe00:1'): Buffer {
  return icmpv6(from, source, ALL_NODES, 134, Buffer.from([64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]));
}
