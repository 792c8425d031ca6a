// A program in a network namespace that serves or asks over blocking sockets, so that next to nothing but the kernel's
// path is measured. `serve <port>`: one connection after the other, every byte sent back. `ask`: one JSON command per line.
import { createInterface } from 'node:readline';
import koffi from 'koffi';
import { check, libc } from '../../runtime-shim/host/libc.ts';

export interface AskCommand {
  /** Round trips of one byte on one connection, or connections that are opened and closed. */
  readonly op: 'round-trips' | 'connections';
  readonly host: string;
  readonly port: number;
  readonly count: number;
}

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const listen = call<(fd: number, backlog: number) => number>('listen', ['int', 'int']);
const accept = call<(fd: number, address: null, length: null) => number>('accept', ['int', 'void *', 'void *']);
const connect = call<(fd: number, address: Buffer, length: number) => number>('connect', ['int', 'void *', 'uint']);
const close = call<(fd: number) => number>('close', ['int']);

const [AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY] = [2, 1, 6, 1] as const;
const ONE = Buffer.of(1, 0, 0, 0);
const byte = Buffer.alloc(1);

function addressOf(host: string, port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(host.split('.').map(Number), 4);
  return address;
}

function open({ host, port }: AskCommand): number {
  const fd = check(libc.socket(AF_INET, SOCK_STREAM, 0), 'socket');
  libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ONE, 4);
  check(connect(fd, addressOf(host, port), 16), 'connect', `${host}:${port}`);
  return fd;
}

function ask(command: AskCommand): void {
  if (command.op === 'connections') {
    for (let count = 0; count < command.count; count += 1) close(open(command));
    return;
  }
  const fd = open(command);
  for (let count = 0; count < command.count; count += 1) {
    check(libc.send(fd, byte, 1, 0), 'send');
    check(libc.recv(fd, byte, 1, 0), 'recv');
  }
  close(fd);
}

function serve(port: number): never {
  const fd = check(libc.socket(AF_INET, SOCK_STREAM, 0), 'socket');
  check(libc.bind(fd, addressOf('0.0.0.0', port), 16), 'bind');
  check(listen(fd, 4096), 'listen');
  process.stdout.write('ready\n');
  for (;;) {
    const connection = check(accept(fd, null, null), 'accept');
    libc.setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, ONE, 4);
    while (libc.recv(connection, byte, 1, 0) === 1) libc.send(connection, byte, 1, 0);
    close(connection);
  }
}

if (process.argv[2] === 'serve') serve(Number(process.argv[3]));
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const startedAt = performance.now();
  ask(JSON.parse(line) as AskCommand);
  process.stdout.write(`${performance.now() - startedAt}\n`);
}
