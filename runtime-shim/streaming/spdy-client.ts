// A client of exec or attach over SPDY: one stream per channel, told apart by the header `streamtype`.
import type { Duplex } from 'node:stream';
import { WindlassError } from '../../lib/errors.ts';
import { parseResize } from './channels.ts';
import {
  createResizeListeners,
  endWritable,
  errorStreamText,
  withoutStall,
  type ClientStreams,
  type ResizeListeners,
  type StreamSet,
} from './client-streams.ts';
import { SpdySession } from './spdy/session.ts';

/** How long a client may take to open its streams, as with the kubelet. */
const OPEN_MS = 30_000;
/** Far above a size in JSON. */
const MAX_RESIZE_BYTES = 1024;
const WITHOUT_RESIZE = ['v2.channel.k8s.io', 'channel.k8s.io'];

/** Waits until the client has opened its streams. Timeout when it does not, or leaves; the connection is gone then. */
export async function openSpdyClient(socket: Duplex, protocol: string, wanted: StreamSet): Promise<ClientStreams> {
  const expected = expectedTypes(protocol, wanted);
  const opened = new Map<string, Duplex>();
  const { promise: complete, resolve } = Promise.withResolvers<boolean>();
  const session = new SpdySession(socket, {
    maxStreams: expected.size,
    onStream({ headers, duplex }) {
      const type = headers.get('streamtype') ?? '';
      if (!expected.has(type) || opened.has(type)) return false;
      opened.set(type, duplex);
      if (opened.size === expected.size) resolve(true);
      return true;
    },
  });
  const timer = setTimeout(() => resolve(false), OPEN_MS);
  void session.closed.then(() => resolve(false));
  const isComplete = await complete.finally(() => clearTimeout(timer));
  if (!isComplete) {
    session.destroy();
    throw new WindlassError('Timeout', `the client opened ${opened.size} of ${expected.size} streams`);
  }
  return createSpdyClient(session, protocol, opened);
}

function expectedTypes(protocol: string, { stdin, stdout, stderr, tty }: StreamSet): Set<string> {
  return new Set([
    'error',
    ...(stdin ? ['stdin'] : []),
    ...(stdout ? ['stdout'] : []),
    ...(stderr ? ['stderr'] : []),
    ...(tty && !WITHOUT_RESIZE.includes(protocol) ? ['resize'] : []),
  ]);
}

function createSpdyClient(session: SpdySession, protocol: string, opened: ReadonlyMap<string, Duplex>): ClientStreams {
  const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((type) => opened.get(type));
  const sizes = createResizeListeners();
  const resize = opened.get('resize');
  if (resize) readSizes(resize, sizes);
  // The client says nothing on these; its closing of them is to be seen.
  for (const type of ['error', 'stdout', 'stderr']) opened.get(type)?.resume();
  const pendingBytes = (): number => [...opened.values()].reduce((sum, stream) => sum + stream.writableLength, 0);
  return {
    ...{ stdin, stdout, stderr },
    closed: session.closed,
    onResize: (listener) => sizes.listen(listener),
    async finish(end) {
      const finishing = (async () => {
        await Promise.all([endWritable(stdout), endWritable(stderr)]);
        const text = errorStreamText(protocol, end);
        if (text !== '') opened.get('error')?.write(text);
        await Promise.all([...opened.values()].map(endWritable));
        // Whatever the client still sends is of no use to anybody.
        stdin?.resume();
        session.close();
        await session.closed;
      })();
      await withoutStall(finishing, pendingBytes, () => session.destroy());
    },
    destroy: () => session.destroy(),
  };
}

/** The stream is a row of JSON objects without nesting. */
function readSizes(stream: Duplex, sizes: ResizeListeners): void {
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('}'); end !== -1; end = text.indexOf('}')) {
      const size = parseResize(text.slice(0, end + 1));
      if (size) sizes.tell(size);
      text = text.slice(end + 1);
    }
    if (text.length > MAX_RESIZE_BYTES) stream.destroy();
  });
}
