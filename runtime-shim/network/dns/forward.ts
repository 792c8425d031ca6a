// Sends a container's question to the host's resolvers. Each try has a fresh socket (random port) and a random id, and
// takes an answer only from the asked server with that id and the same question.
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { isIP } from 'node:net';
import { errnoOf } from '../../../lib/errors.ts';
import { createAnswerCache } from './answer-cache.ts';
import { HEADER_BYTES, type Question } from './message.ts';

const TRY_MS = 2000;
const MAX_IN_FLIGHT = 200;
const MAX_ANSWER_BYTES = 65_535;

export interface Forwarder {
  /** The answer with the client's id; undefined when no server answers or too many questions are under way. */
  forward(question: Question, query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined>;
}

/**
 * A forwarder to what `servers()` says at that moment (`ip`, or `ip:port` of an IPv4 one). Answers are kept as long as
 * they are good; who asks what is being asked already gets the same answer.
 */
export function createForwarder(servers: () => readonly string[]): Forwarder {
  const cache = createAnswerCache({ now: () => performance.now() });
  const underWay = new Map<string, Promise<Buffer | undefined>>();
  let inFlight = 0;
  let asked = '';
  /** The one that answered last is asked first: a dead one costs its time-out once, not with each question. */
  let preferred: string | undefined;

  const ask = async (question: Question, query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> => {
    const list = servers().slice(0, 3);
    for (const server of list.toSorted((a, b) => Number(b === preferred) - Number(a === preferred))) {
      const id = randomInt(0x10000);
      const request = Buffer.from(query);
      request.writeUInt16BE(id, 0);
      const send = transport === 'udp' ? askByUdp : askByTcp;
      const answer = await send(parseServer(server), request, (bytes) => isAnswerTo(bytes, id, question));
      if (!answer) continue;
      preferred = server;
      return answer;
    }
    return undefined;
  };

  return {
    async forward(question, query, transport) {
      const current = servers().join(' ');
      if (current !== asked) cache.clear();
      asked = current;
      const key = keyOf(question, query, transport);
      const kept = cache.get(key, question);
      if (kept) return kept;
      let answering = underWay.get(key);
      if (!answering) {
        if (inFlight >= MAX_IN_FLIGHT) return undefined;
        inFlight += 1;
        answering = ask(question, query, transport).finally(() => {
          inFlight -= 1;
          underWay.delete(key);
        });
        underWay.set(key, answering);
      }
      const answer = await answering;
      if (!answer) return undefined;
      cache.put(key, answer);
      const own = Buffer.from(answer);
      own.writeUInt16BE(question.id, 0);
      question.section.copy(own, HEADER_BYTES);
      return own;
    },
  };
}

/**
 * Equal for questions that one answer is good for: all but the id and the letter case of the name. The name as labels, not
 * as text: a label may hold a dot, and the answer to such a name must not be that of another one.
 */
function keyOf({ section }: Question, query: Buffer, transport: 'udp' | 'tcp'): string {
  // No length of a label is the code of a letter.
  const name = section
    .subarray(0, -4)
    .toString('latin1')
    .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  const nameless = section.subarray(-4).toString('hex');
  const rest = query.subarray(HEADER_BYTES + section.length).toString('hex');
  return `${transport} ${query.subarray(2, HEADER_BYTES).toString('hex')} ${name} ${nameless} ${rest}`;
}

/** `ip` or `ip:port`. */
function parseServer(server: string): Server {
  if (isIP(server) !== 0) return { host: server, port: 53 };
  const colon = server.lastIndexOf(':');
  return { host: server.slice(0, colon), port: Number(server.slice(colon + 1)) };
}

function isAnswerTo(bytes: Buffer, id: number, { section }: Question): boolean {
  const isResponse = bytes.length >= HEADER_BYTES + section.length && ((bytes[2] ?? 0) & 0x80) !== 0;
  return (
    isResponse &&
    bytes.readUInt16BE(0) === id &&
    bytes.subarray(HEADER_BYTES, HEADER_BYTES + section.length).equals(section)
  );
}

type Server = { host: string; port: number };
type Accept = (bytes: Buffer) => boolean;

function askByUdp(server: Server, request: Buffer, isAnswer: Accept): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIP(server.host) === 6 ? 'udp6' : 'udp4');
    const timer = setTimeout(() => finish(undefined), TRY_MS);
    let isOpen = true;
    const finish = (answer: Buffer | undefined): void => {
      if (!isOpen) return;
      isOpen = false;
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    socket.on('error', () => finish(undefined));
    socket.on('message', (bytes) => {
      if (isAnswer(bytes)) finish(Buffer.from(bytes));
    });
    // A connected socket takes datagrams of its peer only.
    socket.connect(server.port, server.host, () => socket.send(request));
  });
}

function askByTcp(server: Server, request: Buffer, isAnswer: Accept): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect(server.port, server.host);
    let received: Buffer = Buffer.alloc(0);
    const finish = (answer: Buffer | undefined): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(TRY_MS, () => finish(undefined));
    socket.on('error', () => finish(undefined));
    socket.on('close', () => resolve(undefined));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length > MAX_ANSWER_BYTES + 2) return;
      const end = 2 + received.readUInt16BE(0);
      if (received.length < end) return;
      const answer = Buffer.from(received.subarray(2, end));
      finish(isAnswer(answer) ? answer : undefined);
    });
    socket.write(withLength(request));
  });
}

/** DNS over TCP puts two bytes of length before each message. */
export function withLength(message: Buffer): Buffer {
  return Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message]);
}

/** The `nameserver` lines of a resolv.conf, read again when the file changes. */
export function hostResolvers(file = '/etc/resolv.conf'): () => readonly string[] {
  let [readAt, servers] = [-1, [] as readonly string[]];
  return () => {
    try {
      const { mtimeMs } = statSync(file);
      if (mtimeMs !== readAt) [readAt, servers] = [mtimeMs, parseResolvConf(readFileSync(file, 'utf8'))];
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      servers = [];
    }
    return servers;
  };
}

/** Servers of a resolv.conf. */
export function parseResolvConf(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, ip]) => ip ?? '').filter((ip) => isIP(ip) !== 0);
}
