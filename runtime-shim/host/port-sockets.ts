// Host ports held by a bound socket that never listens: the kernel then refuses the port to everyone else (host
// processes, another instance) and gives out free ones, although packets are translated before they reach any socket.
import { closeSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { addressBytes } from '../../lib/ip-address.ts';
import { check, libc } from './libc.ts';

const [AF_INET, AF_INET6] = [2, 10];
const SOCK_TYPE = { TCP: 1, UDP: 2 } as const;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const IPPROTO_IP = 0;
const IP_FREEBIND = 15;
const IPPROTO_IPV6 = 41;
const [IPV6_V6ONLY, IPV6_FREEBIND] = [26, 78];

export interface HeldPort {
  readonly port: number;
  release(): void;
}

/** Binds the port (0 = any free one) on the address, `::` being all of IPv6 alone; throws EADDRINUSE when someone has it. */
export function holdPort(protocol: 'TCP' | 'UDP', ip: string, port: number): HeldPort {
  const family = isIPv6(ip) ? AF_INET6 : AF_INET;
  const fd = check(libc.socket(family, SOCK_TYPE[protocol] | SOCK_CLOEXEC, 0), 'socket');
  try {
    // The address may come and go (an interface set down); the promise stays.
    const one = Buffer.of(1, 0, 0, 0);
    if (family === AF_INET) libc.setsockopt(fd, IPPROTO_IP, IP_FREEBIND, one, 4);
    else for (const option of [IPV6_FREEBIND, IPV6_V6ONLY]) libc.setsockopt(fd, IPPROTO_IPV6, option, one, 4);
    if (protocol === 'UDP') libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, one, 4);
    const address = socketAddress(family, ip, port);
    check(libc.bind(fd, address, address.length), 'bind', `${ip}:${port}/${protocol}`);
    check(libc.getsockname(fd, address, Buffer.of(address.length, 0, 0, 0)), 'getsockname');
    return { port: address.readUInt16BE(2), release: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_in: family, port, address; struct sockaddr_in6 has flow information between the last two. */
function socketAddress(family: number, ip: string, port: number): Buffer {
  const address = Buffer.alloc(family === AF_INET ? 16 : 28);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, 2);
  addressBytes(ip).copy(address, family === AF_INET ? 4 : 8);
  return address;
}
