// pods/{name}/exec, attach and portforward: the client's upgraded connection, tunnelled to the agent of the node. This
// server looks at the handshake only; the bytes after it are between the client and the runtime's streaming server.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Container } from '../../crds/container.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { SubresourceHandler, SubresourceRequest } from '../resources/subresource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { AgentConnections } from './agent-connection.ts';
import { agentError } from './agent-error.ts';
import { findTarget } from './find-target.ts';

const CHANNEL_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
const WEBSOCKET_PROTOCOLS: Readonly<Record<StreamName, readonly string[]>> = {
  exec: CHANNEL_PROTOCOLS,
  attach: CHANNEL_PROTOCOLS,
  portforward: ['SPDY/3.1+portforward.k8s.io', 'v4.channel.k8s.io'],
};
/** The agent's paths are the kubelet's. */
const AGENT_PATHS = { exec: 'exec', attach: 'attach', portforward: 'portForward' } as const;
const MAX_HEAD_BYTES = 16 * 1024;
/** Headers that are about this hop or its body, or that say who the client is. */
const OWN_HEADERS =
  /^(host|authorization|cookie|origin|x-forwarded-.*|kubectl-.*|content-length|transfer-encoding|te|trailer|expect)$/i;

export type StreamName = 'exec' | 'attach' | 'portforward';

/** The handler of one of the three. */
export function createStreamHandler(
  kind: StreamName,
  store: Pick<ResourceStore, 'get'>,
  agents: AgentConnections,
): SubresourceHandler {
  return {
    group: '',
    version: 'v1',
    plural: 'pods',
    name: kind,
    verbs: ['create', 'get'],
    async handle() {
      throw new WindlassError('BadRequest', `${kind} needs an upgraded connection: Upgrade request required`);
    },
    async upgrade(request, message, socket, head) {
      const { container, address } = await findTarget(store, request);
      // First: a client whose WebSocket was refused tries SPDY next and shows the answer to that alone.
      checkRunning(container);
      checkHandshake(kind, request.headers);
      const { namespace = '', name } = container.metadata;
      const upstream = await agents.open(address, request.signal);
      const path = [AGENT_PATHS[kind], namespace, name, name].map(encodeURIComponent).join('/');
      upstream.write(upgradeHead(`/${path}?${agentQuery(request.query)}`, address.host, message));
      const answer = await readHead(upstream);
      if (answer.status !== 101) {
        upstream.destroy();
        throw agentError(answer.status, answer.rest.toString('utf8'));
      }
      join(socket, upstream, { head, first: Buffer.concat([answer.head, answer.rest]), signal: request.signal });
    },
  };
}

function checkRunning({ metadata, status }: Container): void {
  if (status?.phase === 'Running') return;
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const why = ready ? `: ${ready.reason}: ${ready.message}` : '';
  throw new WindlassError('BadRequest', `container "${metadata.name}" is not running${why}`);
}

/**
 * Throws BadRequest naming what would be right. SPDY's own protocols are for the runtime to choose from: its answer reaches
 * the client as it is.
 */
export function checkHandshake(name: StreamName, headers: SubresourceRequest['headers']): void {
  const upgrade = String(headers['upgrade'] ?? '').toLowerCase();
  if (upgrade === 'spdy/3.1') return;
  if (upgrade !== 'websocket') {
    throw new WindlassError(
      'BadRequest',
      `unable to upgrade to ${JSON.stringify(upgrade)}: want websocket or SPDY/3.1`,
    );
  }
  const offered = String(headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((text) => text.trim());
  const known = WEBSOCKET_PROTOCOLS[name];
  if (!offered.some((protocol) => known.includes(protocol))) {
    throw new WindlassError(
      'BadRequest',
      `none of the protocols ${JSON.stringify(offered)} is supported: want ${known.join(' or ')}`,
    );
  }
}

/** The options of the three kinds in the words of the agent's path. */
export function agentQuery(query: URLSearchParams): URLSearchParams {
  const isSet = (name: string): boolean => ['true', '1'].includes(query.get(name) ?? '');
  const result = new URLSearchParams(
    ['command', 'ports'].flatMap((name) => query.getAll(name).map((value): [string, string] => [name, value])),
  );
  const pairs = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' };
  for (const [theirs, ours] of Object.entries(pairs)) if (isSet(theirs)) result.append(ours, '1');
  return result;
}

function upgradeHead(path: string, host: string, message: IncomingMessage): string {
  const lines = [`GET ${path} HTTP/1.1`, `Host: ${host}`];
  for (let index = 0; index + 1 < message.rawHeaders.length; index += 2) {
    const name = message.rawHeaders[index] ?? '';
    if (!OWN_HEADERS.test(name)) lines.push(`${name}: ${message.rawHeaders[index + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

interface Head {
  readonly status: number;
  readonly head: Buffer;
  /** For a refusal the whole body, else what came with the head. */
  readonly rest: Buffer;
}

async function readHead(upstream: TLSSocket): Promise<Head> {
  let data: Buffer = Buffer.alloc(0);
  let found: { status: number; end: number } | undefined;
  for (;;) {
    const chunk = await readChunk(upstream);
    if (chunk) data = Buffer.concat([data, chunk]);
    if (!found) {
      const end = data.indexOf('\r\n\r\n');
      if (end >= 0) found = { status: Number(data.toString('latin1', 9, 12)), end: end + 4 };
    }
    if (found && (found.status === 101 || !chunk || data.length > MAX_HEAD_BYTES)) {
      return { status: found.status, head: data.subarray(0, found.end), rest: data.subarray(found.end) };
    }
    if (!chunk || data.length > MAX_HEAD_BYTES) {
      throw new WindlassError('Unavailable', 'the node agent closed the connection during the handshake');
    }
  }
}

/** The next bytes; undefined at the end. */
function readChunk(upstream: TLSSocket): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const ready = upstream.read() as Buffer | null;
    if (ready) return resolve(ready);
    if (upstream.readableEnded || upstream.destroyed) return resolve(undefined);
    const clear = (): void => {
      upstream.off('readable', onReadable);
      upstream.off('end', onEnd);
      upstream.off('close', onEnd);
      upstream.off('error', onError);
    };
    const onReadable = (): void => {
      const chunk = upstream.read() as Buffer | null;
      if (!chunk) return;
      clear();
      resolve(chunk);
    };
    const onEnd = (): void => {
      clear();
      resolve(undefined);
    };
    const onError = (error: Error): void => {
      clear();
      reject(error);
    };
    upstream.on('readable', onReadable);
    upstream.on('end', onEnd);
    upstream.on('close', onEnd);
    upstream.on('error', onError);
  });
}

function join(
  socket: Duplex,
  upstream: TLSSocket,
  { head, first, signal }: { head: Buffer; first: Buffer; signal: AbortSignal },
): void {
  const end = (): void => {
    socket.destroy();
    upstream.destroy();
  };
  socket.on('error', end);
  upstream.on('error', end);
  socket.on('close', end);
  // What is still in the buffer reaches the client: the exit code comes last.
  upstream.on('close', () => socket.end());
  signal.addEventListener('abort', end, { once: true });
  socket.write(first);
  if (head.length > 0) upstream.write(head);
  upstream.pipe(socket);
  socket.pipe(upstream);
}
