// Listeners on port 53 of every gateway address, or on another port where a resolver of the host has that port on all
// addresses (the tables lead questions there then). The address that was asked tells the network; a question from outside
// that network's subnets gets no answer.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { errnoOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { contains, parseCidr, parseIp } from '../ipam.ts';
import { DNS_PORT, type NetworkState } from '../state.ts';
import { createClientLimits } from './client-limits.ts';
import { createForwarder, hostResolvers, withLength } from './forward.ts';
import { encodeAnswer, encodeError, parseQuestion, RCODE } from './message.ts';
import { decide, networksOfClient } from './zone.ts';

const MAX_TCP_BYTES = 65_535;
const MAX_CONNECTIONS = 64;
const IDLE_MS = 5000;
const RETRY_MS = 5000;

export interface NameServer {
  /** Opens listeners on new gateway addresses and closes those of removed networks. */
  sync(): void;
  close(): void;
}

interface Listener {
  readonly networkId: string;
  readonly udp: UdpSocket;
  readonly tcp: Server;
  failedAt: number | undefined;
  /** What listens on another port than 53. */
  readonly moved: Set<'TCP' | 'UDP'>;
}

/** Answers DNS on the gateway address of every network in the state. */
export function createNameServer(options: {
  readonly state: NetworkState;
  readonly log: Logger;
  readonly upstreamResolvers?: readonly string[];
  /** Called when a listener was opened on another port than 53, and with undefined when that one is closed. */
  readonly onOtherPort: (gateway: string, protocol: 'TCP' | 'UDP', port: number | undefined) => void;
}): NameServer {
  const { state, log, upstreamResolvers, onOtherPort } = options;
  const fromHost = hostResolvers();
  const listeners = new Map<string, Listener>();
  const told = new Set<string>();
  // A host whose resolver is one of our own gateways would ask itself for ever.
  const forwarder = createForwarder(() => (upstreamResolvers ?? fromHost()).filter((ip) => !listeners.has(ip)));

  const limits = createClientLimits(() => performance.now());

  const answer = async (
    networkId: string,
    client: string,
    query: Buffer,
    transport: 'udp' | 'tcp',
  ): Promise<Buffer | undefined> => {
    if (!limits.mayAsk(client)) return undefined;
    const parsed = parseQuestion(query);
    if (parsed.kind === 'ignore') return undefined;
    if (parsed.kind === 'bad') return encodeError(parsed.id, parsed.rcode);
    const { question } = parsed;
    const maxBytes = transport === 'udp' ? question.udpBytes : MAX_TCP_BYTES;
    const decision = decide(state, networksOfClient(state, networkId, client), question);
    if (decision.kind === 'answer') return encodeAnswer(question, decision.rcode, decision.answers, maxBytes);
    const forwarded = await limits.waiting(client, () => forwarder.forward(question, query, transport));
    return forwarded ?? encodeAnswer(question, RCODE.serverFailure, [], maxBytes);
  };

  const isMember = (networkId: string, ip: string): boolean =>
    state.networks.get(networkId)?.subnets.some(({ cidr }) => contains(parseCidr(cidr), parseIp(ip))) ?? false;

  const open = (ip: string, networkId: string): void => {
    const udp = createSocket('udp4');
    const tcp = createServer();
    const listener: Listener = { networkId, udp, tcp, failedAt: undefined, moved: new Set() };
    listeners.set(ip, listener);
    const fail = (err: Error): void => {
      listener.failedAt = performance.now();
      if (told.has(ip)) return;
      told.add(ip);
      log.warn({ gateway: ip, err }, 'failed to answer DNS on a gateway address, retrying');
    };
    const listen = {
      UDP: (port: number) => udp.bind({ address: ip, port, exclusive: true }),
      TCP: (port: number) => tcp.listen({ host: ip, port, exclusive: true }),
    };
    const moved = listener.moved;
    const handleError = (protocol: 'TCP' | 'UDP') => (error: Error) => {
      if (errnoOf(error) !== 'EADDRINUSE' || moved.has(protocol)) return fail(error);
      log.info({ gateway: ip, protocol }, 'port 53 is taken on this host: names are answered on another port');
      moved.add(protocol);
      listen[protocol](0);
    };
    const handleListening = (protocol: 'TCP' | 'UDP', port: number): void => {
      if (moved.has(protocol) && listeners.get(ip) === listener) onOtherPort(ip, protocol, port);
    };
    udp.on('error', handleError('UDP'));
    tcp.on('error', handleError('TCP'));
    udp.on('listening', () => handleListening('UDP', udp.address().port));
    tcp.on('listening', () => handleListening('TCP', (tcp.address() as AddressInfo).port));
    udp.on('message', (query, peer) => {
      if (!isMember(networkId, peer.address)) return;
      answer(networkId, peer.address, query, 'udp').then(
        (bytes) => bytes && listeners.get(ip) === listener && udp.send(bytes, peer.port, peer.address, ignoreSendError),
        (err: unknown) => log.error({ gateway: ip, err }, 'failed to answer a DNS question'),
      );
    });
    tcp.maxConnections = MAX_CONNECTIONS;
    tcp.on('connection', (socket) => {
      const client = socket.remoteAddress ?? '0.0.0.0';
      if (!isMember(networkId, client) || !limits.connect(client)) return void socket.destroy();
      socket.once('close', () => limits.disconnect(client));
      serveTcp(socket, (query) => answer(networkId, client, query, 'tcp'));
    });
    listen.UDP(DNS_PORT);
    listen.TCP(DNS_PORT);
    udp.unref();
    tcp.unref();
  };

  const shut = (ip: string, { udp, tcp, moved }: Listener): void => {
    listeners.delete(ip);
    for (const protocol of moved) onOtherPort(ip, protocol, undefined);
    udp.close();
    if (tcp.listening) tcp.close();
  };

  return {
    sync() {
      const wanted = new Map<string, string>();
      for (const spec of state.networks.values()) for (const { gateway } of spec.subnets) wanted.set(gateway, spec.id);
      for (const [ip, listener] of listeners) {
        const isRetryDue = listener.failedAt !== undefined && performance.now() - listener.failedAt > RETRY_MS;
        if (wanted.get(ip) !== listener.networkId || isRetryDue) shut(ip, listener);
      }
      for (const [ip, networkId] of wanted) if (!listeners.has(ip)) open(ip, networkId);
    },
    close() {
      for (const [ip, listener] of listeners) shut(ip, listener);
    },
  };
}

/** The client left: nothing to tell it. */
const ignoreSendError = (): void => undefined;

function serveTcp(socket: Socket, answer: (query: Buffer) => Promise<Buffer | undefined>): void {
  let received: Buffer = Buffer.alloc(0);
  socket.unref();
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    // One question per connection: enough for a retry after truncation, and nothing can pile up.
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    socket.pause();
    answer(received.subarray(2, 2 + received.readUInt16BE(0))).then(
      (bytes) => (bytes ? socket.end(withLength(bytes)) : socket.destroy()),
      () => socket.destroy(),
    );
  });
}
