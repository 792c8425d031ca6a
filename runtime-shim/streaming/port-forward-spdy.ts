// Port forwarding over SPDY (`portforward.k8s.io`): each connection is a pair of streams with one `requestid`, the first
// for an error message, the second for the bytes.
import type { Duplex } from 'node:stream';
import { messageOf } from '../../lib/errors.ts';
import { joinDuplexes } from './join-duplexes.ts';
import { SpdySession } from './spdy/session.ts';
import type { SpdyStream } from './spdy/stream.ts';

/** Connections at once, two streams each. */
const MAX_CONNECTIONS = 512;
/** How long one stream of a pair may be without the other, as with the kubelet. */
const PAIR_MS = 30_000;

/** Connects to a port of the sandbox; the error's message goes to the client. */
export type ConnectToPort = (port: number) => Promise<Duplex>;

interface Pair {
  readonly port: number;
  readonly timer: NodeJS.Timeout;
  error?: Duplex;
  data?: Duplex;
}

/** Serves the connection until the client leaves. */
export async function servePortForwardSpdy(socket: Duplex, connect: ConnectToPort): Promise<void> {
  const pairs = new Map<string, Pair>();
  const session = new SpdySession(socket, {
    maxStreams: MAX_CONNECTIONS * 2,
    onStream(stream) {
      const type = stream.headers.get('streamtype');
      const port = parsePort(stream.headers.get('port'));
      if ((type !== 'error' && type !== 'data') || port === undefined) return false;
      const id = requestId(stream, type);
      const pair = pairs.get(id) ?? openPair(id, port);
      if (pair[type] || pair.port !== port) return false;
      pair[type] = stream.duplex;
      if (pair.error && pair.data) {
        closePair(id);
        void forward(pair.error, pair.data, port, connect);
      }
      return true;
    },
  });

  function openPair(id: string, port: number): Pair {
    const timer = setTimeout(() => {
      const { error, data } = closePair(id) ?? {};
      error?.destroy();
      data?.destroy();
    }, PAIR_MS);
    const pair: Pair = { port, timer };
    pairs.set(id, pair);
    return pair;
  }

  function closePair(id: string): Pair | undefined {
    const pair = pairs.get(id);
    clearTimeout(pair?.timer);
    pairs.delete(id);
    return pair;
  }

  await session.closed;
  for (const id of [...pairs.keys()]) closePair(id);
}

/** Clients of old open the error stream and, right after it, the data stream, without a name for the pair. */
function requestId({ id, headers }: SpdyStream, type: 'error' | 'data'): string {
  return headers.get('requestid') ?? `stream ${type === 'error' ? id : id - 2}`;
}

/** A failure to connect is told on the error stream, and is no concern of the other connections. */
async function forward(error: Duplex, data: Duplex, port: number, connect: ConnectToPort): Promise<void> {
  // The client says nothing on it.
  error.resume();
  let target: Duplex;
  try {
    target = await connect(port);
  } catch (failure) {
    error.end(messageOf(failure));
    data.destroy();
    return;
  }
  await joinDuplexes(data, target);
  error.end();
}

function parsePort(text: string | undefined): number | undefined {
  const port = /^\d{1,5}$/.test(text ?? '') ? Number(text) : 0;
  return port > 0 && port < 65536 ? port : undefined;
}
