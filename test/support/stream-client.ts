// Clients of exec and attach for tests, alike over both transports.
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { connectSpdy, type TestSpdy, type TestStream } from './spdy-client.ts';
import { waitFor } from './wait.ts';

export type Transport = 'spdy' | 'websocket';
export const TRANSPORTS = ['spdy', 'websocket'] as const;
const CHANNELS = ['stdin', 'stdout', 'stderr', 'error', 'resize'] as const;
type Channel = (typeof CHANNELS)[number];

export interface StreamClient extends Disposable {
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes of stdout so far. */
  readonly stdoutBytes: number;
  write(data: string | Uint8Array): void;
  endStdin(): void;
  resize(columns: number, rows: number): void;
  /** Waits for the end and returns what the error channel said. */
  status(): Promise<{ status?: string; message?: string; reason?: string; details?: { causes: object[] } }>;
  closed(): Promise<void>;
  /** Stops and goes on reading what the server sends. */
  pause(): void;
  resume(): void;
}

/** Opens the channels that `wanted` names over `protocol`. */
export async function openStreams(
  url: string,
  transport: Transport,
  wanted: { tty?: boolean; stdin?: boolean; stdout?: boolean; stderr?: boolean },
  protocol = 'v5.channel.k8s.io',
): Promise<StreamClient> {
  return transport === 'spdy' ? openSpdy(url, wanted, protocol) : openWebSocket(url, protocol);
}

async function openSpdy(
  url: string,
  { tty = false, stdin = false, stdout = true, stderr = !tty }: Parameters<typeof openStreams>[2],
  protocol: string,
): Promise<StreamClient> {
  const spdy: TestSpdy = await connectSpdy(url, protocol);
  const open = (type: Channel, isWanted: boolean): TestStream | undefined =>
    isWanted ? spdy.open({ streamtype: type }) : undefined;
  const [error, input, output, errors, resize] = [
    open('error', true),
    open('stdin', stdin),
    open('stdout', stdout),
    open('stderr', stderr),
    open('resize', tty),
  ];
  await waitFor(() => [error, input, output, errors, resize].every((stream) => stream === undefined || stream.isTaken));
  error?.end();
  return {
    get stdout() {
      return output?.text ?? '';
    },
    get stderr() {
      return errors?.text ?? '';
    },
    get stdoutBytes() {
      return (output?.received ?? []).reduce((sum, { length }) => sum + length, 0);
    },
    write: (data) => input?.write(data),
    endStdin: () => input?.end(),
    resize: (columns, rows) => resize?.write(`${JSON.stringify({ Width: columns, Height: rows })}\n`),
    async status() {
      await error?.ended();
      return parse(error?.text ?? '');
    },
    closed: () => spdy.closed(),
    pause: () => void spdy.socket.pause(),
    resume: () => void spdy.socket.resume(),
    [Symbol.dispose]: () => spdy[Symbol.dispose](),
  };
}

async function openWebSocket(url: string, protocol: string): Promise<StreamClient> {
  const socket = new WebSocket(url.replace('http:', 'ws:'), protocol);
  const received = new Map<number, Buffer[]>();
  socket.on('message', (data: Buffer) => {
    const channel = data[0] ?? -1;
    received.set(channel, [...(received.get(channel) ?? []), data.subarray(1)]);
  });
  socket.on('error', () => socket.terminate());
  await once(socket, 'open');
  const all = (channel: Channel): Buffer => Buffer.concat(received.get(CHANNELS.indexOf(channel)) ?? []);
  const send = (channel: number, data: string | Uint8Array): void =>
    socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(data)]));
  const closed = async (): Promise<void> =>
    void (await waitFor(() => socket.readyState === socket.CLOSED, { what: 'the end of the connection' }));
  return {
    get stdout() {
      return all('stdout').toString();
    },
    get stderr() {
      return all('stderr').toString();
    },
    get stdoutBytes() {
      return (received.get(1) ?? []).reduce((sum, { length }) => sum + length, 0);
    },
    write: (data) => send(0, data),
    endStdin: () => send(255, Uint8Array.of(0)),
    resize: (columns, rows) => send(4, JSON.stringify({ Width: columns, Height: rows })),
    async status() {
      await closed();
      return parse(all('error').toString());
    },
    closed,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    [Symbol.dispose]: () => socket.terminate(),
  };
}

function parse(text: string): Awaited<ReturnType<StreamClient['status']>> {
  return text.startsWith('{') ? (JSON.parse(text) as object) : { message: text };
}
