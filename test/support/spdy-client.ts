// A small SPDY/3.1 client for tests of the streaming server; like Go's it knows no windows unless told to send updates.
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { createFrameReader } from '../../runtime-shim/streaming/spdy/frame-reader.ts';
import { controlFrame, dataHeader, FRAME } from '../../runtime-shim/streaming/spdy/frames.ts';
import { createHeaderWriter } from '../../runtime-shim/streaming/spdy/header-blocks.ts';
import { waitFor } from './wait.ts';

export interface TestStream {
  readonly id: number;
  readonly received: Buffer[];
  readonly text: string;
  readonly hasEnded: boolean;
  /** Whether the server has taken it (SYN_REPLY). */
  readonly isTaken: boolean;
  /** Status of the RST_STREAM that came. */
  readonly resetStatus: number | undefined;
  write(data: string | Uint8Array): void;
  /** FLAG_FIN. */
  end(): void;
  ended(): Promise<void>;
}

export interface TestSpdy extends Disposable {
  readonly socket: Duplex;
  /** Status of the GOAWAY that came. */
  readonly goAwayStatus: number | undefined;
  readonly pings: readonly number[];
  /** Sum of the updates per stream; 0 is the connection. */
  readonly credits: ReadonlyMap<number, number>;
  /** Opens a stream without waiting for the answer. */
  open(headers: Record<string, string>): TestStream;
  send(bytes: Buffer): void;
  closed(): Promise<void>;
}

/** Bytes of a SYN_STREAM with a header block. */
export function synStream(streamId: number, block: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt32BE(streamId, 0);
  return controlFrame(FRAME.synStream, flags, Buffer.concat([head, block]));
}

export interface UpgradeAnswer {
  readonly status: number;
  readonly text: string;
  readonly socket: Socket;
  readonly rest: Buffer;
}

/** Asks for an upgrade with these header lines and reads the answer's head. */
export async function requestUpgrade(
  url: string,
  headers: Record<string, string>,
  method = 'POST',
): Promise<UpgradeAnswer> {
  const { hostname, port, host, pathname, search } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  await once(socket, 'connect');
  socket.on('error', () => socket.destroy());
  const lines = Object.entries({ Host: host, Connection: 'Upgrade', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`${method} ${pathname}${search} HTTP/1.1\r\n${lines.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`);
  let answer = Buffer.alloc(0);
  while (!answer.includes('\r\n\r\n')) {
    const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])])) as [Buffer?];
    if (!chunk) break;
    answer = Buffer.concat([answer, chunk]);
  }
  socket.pause();
  const end = answer.indexOf('\r\n\r\n') + 4;
  const text = answer.toString('latin1', 0, end);
  return { status: Number(text.split(' ')[1]), text, socket, rest: answer.subarray(end) };
}

/** Connects with SPDY/3.1; throws when the server refuses. */
export async function connectSpdy(url: string, protocol: string): Promise<TestSpdy> {
  const answer = await requestUpgrade(url, { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': protocol });
  if (answer.status !== 101) throw new Error(`refused: ${answer.text}`);
  const spdy = speakSpdy(answer.socket);
  if (answer.rest.length > 0) answer.socket.unshift(answer.rest);
  answer.socket.resume();
  return spdy;
}

interface StreamState {
  readonly received: Buffer[];
  isTaken: boolean;
  hasEnded: boolean;
  resetStatus: number | undefined;
}

/** Speaks over a connection that is upgraded already. */
export function speakSpdy(socket: Duplex): TestSpdy {
  const streams = new Map<number, StreamState>();
  const credits = new Map<number, number>();
  const pings: number[] = [];
  const headers = createHeaderWriter();
  let [nextId, goAwayStatus] = [1, undefined as number | undefined];
  const reader = createFrameReader({
    onControl(frame) {
      if (frame.kind === 'rstStream') {
        const stream = streams.get(frame.streamId);
        if (stream) stream.resetStatus = frame.status;
      }
      if (frame.kind === 'headers') {
        const stream = streams.get(frame.streamId);
        if (stream) stream.isTaken = true;
      }
      if (frame.kind === 'ping') pings.push(frame.id);
      if (frame.kind === 'windowUpdate') credits.set(frame.streamId, (credits.get(frame.streamId) ?? 0) + frame.bytes);
      if (frame.kind === 'goAway') goAwayStatus = -1;
    },
    onData(streamId, data, isLast) {
      const stream = streams.get(streamId);
      stream?.received.push(Buffer.from(data));
      if (stream && isLast) stream.hasEnded = true;
    },
  });
  socket.on('end', () => socket.end());
  socket.on('data', (chunk: Buffer) => {
    const at = chunk.indexOf(Buffer.from([0x80, 3, 0, FRAME.goAway]));
    reader.push(chunk);
    if (goAwayStatus === -1) goAwayStatus = at === -1 ? 0 : chunk.readUInt32BE(at + 12);
  });
  return {
    socket,
    pings,
    credits,
    get goAwayStatus() {
      return goAwayStatus;
    },
    open(fields) {
      const id = nextId;
      nextId += 2;
      const state: StreamState = { received: [], isTaken: false, hasEnded: false, resetStatus: undefined };
      streams.set(id, state);
      socket.write(synStream(id, headers.write(new Map(Object.entries(fields)))));
      return {
        id,
        received: state.received,
        get text() {
          return Buffer.concat(state.received).toString();
        },
        get hasEnded() {
          return state.hasEnded;
        },
        get isTaken() {
          return state.isTaken;
        },
        get resetStatus() {
          return state.resetStatus;
        },
        write(data) {
          const bytes = Buffer.from(data);
          socket.write(Buffer.concat([dataHeader(id, bytes.length, false), bytes]));
        },
        end: () => void socket.write(dataHeader(id, 0, true)),
        ended: async () => void (await waitFor(() => state.hasEnded, { what: `the end of stream ${id}` })),
      };
    },
    send: (bytes) => void socket.write(bytes),
    closed: async () => void (await waitFor(() => socket.destroyed, { what: 'the end of the connection' })),
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
