// Ethernet frames as they are, sent and received on a link of a network namespace. Main thread only, as root.
import { closeSync } from 'node:fs';
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

/** An IPv6 router advertisement to all nodes. */
export function routerAdvertisement(from: string): Buffer {
  const source = Buffer.from('fe80000000000000020000fffe000001', 'hex');
  const destination = Buffer.from('ff020000000000000000000000000001', 'hex');
  const message = Buffer.from([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  return frame(from, 0x86dd, Buffer.concat([header, source, destination, message]));
}
