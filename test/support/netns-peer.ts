// A program that lives in a network namespace and serves, asks and resolves as it is told by JSON lines on stdin.
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { connect, createServer, isIPv6, type Socket } from 'node:net';
import { answerLines } from './line-process.ts';

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
      /** Said before this direction is ended; TCP only. */
      text?: string;
    }
  | { op: 'collect'; port: number; label: string }
  | { op: 'echo'; port: number; label: string }
  | { op: 'open'; name: string; host: string; port: number; timeoutMs: number; localPort?: number }
  | { op: 'say'; name: string; text: string; timeoutMs: number }
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
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.once('error', reject);
    socket.on('message', (_, peer) => socket.send(`${command.label} ${peer.address}`, peer.port, peer.address));
    socket.bind(command.port, host, () => resolve('serving'));
  });
}

/** A server that keeps its connections and answers each message with its label, the client's address and the message. */
function echo({ port, label }: Extract<PeerCommand, { op: 'echo' }>): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => socket.write(`${label} ${socket.remoteAddress} ${chunk}`));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '0.0.0.0', () => resolve('serving'));
  });
}

/** A server that waits for the end of what it is told, and answers with its label, the client's address and all of it. */
function collect({ port, label }: Extract<PeerCommand, { op: 'collect' }>): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('end', () => socket.end(`${label} ${socket.remoteAddress} ${text}`));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '0.0.0.0', () => resolve('serving'));
  });
}

const connections = new Map<string, Socket>();

/** Opens a connection that say() goes on with. */
function open({ name, host, port, timeoutMs, localPort }: Extract<PeerCommand, { op: 'open' }>): Promise<string> {
  const socket = connect({ host, port, ...(localPort === undefined ? {} : { localPort }) });
  connections.set(name, socket);
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('timeout')), timeoutMs);
    socket.on('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code)));
    socket.once('connect', () => resolve('open'));
  });
}

function say({ name, text, timeoutMs }: Extract<PeerCommand, { op: 'say' }>): Promise<string> {
  const socket = connections.get(name);
  if (!socket) return Promise.reject(new Error('no such connection'));
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('timeout')), timeoutMs);
    socket.once('close', () => reject(new Error('closed')));
    socket.once('data', (chunk: Buffer) => resolve(chunk.toString()));
    socket.write(text);
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
      const { host, port, localAddress, localPort, text: said } = command;
      const socket = connect({
        ...{ host, port, allowHalfOpen: said !== undefined },
        ...(localAddress === undefined ? {} : { localAddress }),
        ...(localPort === undefined ? {} : { localPort }),
      });
      if (said !== undefined) socket.end(said);
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
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
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
    case 'echo':
      return await echo(command);
    case 'collect':
      return await collect(command);
    case 'open':
      return await open(command);
    case 'say':
      return await say(command);
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

await answerLines<PeerCommand>('ready', (command) =>
  run(command).catch((error: NodeJS.ErrnoException) => {
    throw new Error(error.code ?? error.message, { cause: error });
  }),
);
process.exit(0);
