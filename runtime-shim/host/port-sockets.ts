// Host ports held by a bound socket that never listens: the kernel then refuses the port to everyone else (host
// processes, another instance) and gives out free ones, although packets are translated before they reach any socket.
import { closeSync } from 'node:fs';
import { check, libc } from './libc.ts';
import { ipBytes } from './rtnetlink.ts';

const AF_INET = 2;
const SOCK_TYPE = { TCP: 1, UDP: 2 } as const;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const IPPROTO_IP = 0;
const IP_FREEBIND = 15;

export interface HeldPort {
  readonly port: number;
  release(): void;
}

/** Binds the port (0 = any free one) on the address; throws EADDRINUSE when someone has it. */
export function holdPort(protocol: 'TCP' | 'UDP', ip: string, port: number): HeldPort {
  const fd = check(libc.socket(AF_INET, SOCK_TYPE[protocol] | SOCK_CLOEXEC, 0), 'socket');
  try {
    // The address may come and go (an interface set down); the promise stays.
    const one = Buffer.of(1, 0, 0, 0);
    libc.setsockopt(fd, IPPROTO_IP, IP_FREEBIND, one, 4);
    if (protocol === 'UDP') libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, one, 4);
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    ipBytes(ip === '' ? '0.0.0.0' : ip).copy(address, 4);
    check(libc.bind(fd, address, address.length), 'bind', `${ip === '' ? '*' : ip}:${port}/${protocol}`);
    check(libc.getsockname(fd, address, Buffer.of(16, 0, 0, 0)), 'getsockname');
    return { port: address.readUInt16BE(2), release: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
