// A program that lives in a network namespace and serves, asks and resolves as it is told by JSON lines on stdin.
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

export type PeerCommand =
  | { op: 'serve'; protocol: 'TCP' | 'UDP'; port: number; label: string; host?: string }
  | {
      op: 'ask';
      protocol: 'TCP' | 'UDP';
      host: string;
      port: number;
      timeoutMs: number;
      localAddress?: string;
      localPort?: number;
    }
  | { op: 'resolve'; server: string; name: string; type: 'A' | 'AAAA' | 'PTR'; timeoutMs: number }
  | { op: 'datagram'; host: string; port: number; hex: string; timeoutMs: number };

/** Each server answers with its label and the address it sees the client at. */
function serve(command: Extract<PeerCommand, { op: 'serve' }>): Promise<string> {
  return new Promise((resolve, reject) => {
    const host = command.host ?? '0.0.0.0';
    if (command.protocol === 'TCP') {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.end(`${command.label} ${socket.remoteAddress}`);
      });
      server.once('error', reject);
      server.listen(command.port, host, () => resolve('serving'));
      return;
    }
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.on('message', (_, peer) => socket.send(`${command.label} ${peer.address}`, peer.port, peer.address));
    socket.bind(command.port, host, () => resolve('serving'));
  });
}

function ask(command: Extract<PeerCommand, { op: 'ask' }>): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = setTimeout(() => reject(new Error('timeout')), command.timeoutMs);
    const finish = (text: string): void => {
      clearTimeout(fail);
      resolve(text);
    };
    if (command.protocol === 'TCP') {
      const { host, port, localAddress } = command;
      const socket = connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) });
      let text = '';
      socket.on('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code)));
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('end', () => finish(text));
      setTimeout(() => socket.destroy(), command.timeoutMs);
      return;
    }
    askDatagram(command.host, command.port, Buffer.from('?'), command.timeoutMs, command.localPort).then(
      (bytes) => finish(bytes.toString()),
      reject,
    );
  });
}

function askDatagram(host: string, port: number, data: Buffer, timeoutMs: number, localPort = 0): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => {
      socket.close();
      reject(new Error('timeout'));
    }, timeoutMs);
    socket.on('error', (error) => {
      clearTimeout(timer);
      socket.close();
      reject(error);
    });
    socket.on('message', (bytes) => {
      clearTimeout(timer);
      socket.close();
      resolve(bytes);
    });
    socket.bind(localPort, () => socket.send(data, port, host));
  });
}

async function run(command: PeerCommand): Promise<string> {
  switch (command.op) {
    case 'serve':
      return await serve(command);
    case 'ask':
      return await ask(command);
    case 'datagram':
      return (
        await askDatagram(command.host, command.port, Buffer.from(command.hex, 'hex'), command.timeoutMs)
      ).toString('hex');
    case 'resolve': {
      const resolver = new Resolver({ timeout: command.timeoutMs, tries: 1 });
      resolver.setServers([command.server]);
      return ((await resolver.resolve(command.name, command.type)) as string[]).toSorted().join(' ');
    }
  }
}

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
print({ result: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line) as PeerCommand).then(
    (result) => print({ result }),
    (error: NodeJS.ErrnoException) => print({ error: error.code ?? error.message }),
  );
}
process.exit(0);
