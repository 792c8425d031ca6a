// IP addresses of either family as the kernel stores them.
import { isIPv4, isIPv6 } from 'node:net';

/** The 4 or 16 bytes of an address. Throws TypeError for what is none, and for an IPv6 address with a zone. */
export function addressBytes(ip: string): Buffer {
  if (isIPv4(ip)) return Buffer.from(ip.split('.').map(Number));
  if (!isIPv6(ip) || ip.includes('%')) throw new TypeError(`not an IP address: ${ip}`);
  // The URL parser knows every way to write one and gives the shortest; only "::" and an embedded IPv4 are left to open.
  const shortest = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const [head = '', tail] = shortest.split('::');
  const words = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const missing = 8 - words(head).length - words(tail ?? '').length;
  const all = tail === undefined ? words(head) : [...words(head), ...Array<string>(missing).fill('0'), ...words(tail)];
  return Buffer.from(all.map((word) => word.padStart(4, '0')).join(''), 'hex');
}

/** Bytes of an address as text, in its shortest form; '' for anything but 4 or 16 bytes. */
export function formatAddress(bytes: Buffer | undefined): string {
  if (bytes?.length === 4) return bytes.join('.');
  if (bytes?.length !== 16) return '';
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}
