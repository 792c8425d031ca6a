// Exec, attach and port forwarding: asks the runtime for a streaming URL and tunnels the upgraded connection to it, byte
// by byte. The streaming server of the runtime alone speaks what the client speaks.
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Container } from '../../../crds/container.ts';
import { WindlassError } from '../../../lib/errors.ts';
import type { Lister } from '../cluster.ts';
import type { AttachOptions, ContainerState, ExecOptions, NodeRuntime } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import { requireContainer, type AgentTarget } from './logs.ts';

export interface StreamDeps {
  readonly containers: Pick<Lister<Container>, 'get'>;
  readonly cache: RuntimeCache;
  readonly runtime: Pick<NodeRuntime, 'exec' | 'attach' | 'portForward'>;
}

export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Reads kubelet's query: `command` repeated, and what an attach has. */
export function parseExecOptions(query: URLSearchParams): ExecOptions {
  const command = query.getAll('command');
  if (command.length === 0)
    throw new WindlassError('BadRequest', 'you must specify at least one command for the container');
  return { command, ...parseAttachOptions(query) };
}

/** Reads kubelet's query: `input`, `output`, `error`, `tty` as 1 or true. */
export function parseAttachOptions(query: URLSearchParams): AttachOptions {
  const isSet = (...names: string[]): boolean => names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
  const tty = isSet('tty');
  const stdin = isSet('input', 'stdin');
  const stdout = isSet('output', 'stdout');
  // A terminal has one output stream.
  const stderr = !tty && isSet('error', 'stderr');
  if (!stdin && !stdout && !stderr) {
    throw new WindlassError('BadRequest', 'you must specify at least one of stdin, stdout, stderr');
  }
  return { tty, stdin, stdout, stderr };
}

export type StreamVerb = 'exec' | 'attach' | 'portForward';

/** Serves a command, an attach or port forwarding over `upgrade`'s connection. */
export async function serveStream(
  deps: StreamDeps,
  verb: StreamVerb,
  target: AgentTarget,
  query: URLSearchParams,
  upgrade: Upgrade,
): Promise<void> {
  const container = requireContainer(deps.containers, target);
  const run = deps.cache.viewOf(container.metadata.uid ?? '').containers.find(({ state }) => state === 'Running');
  if (!run) throw new WindlassError('BadRequest', `container "${target.name}" is not running`);
  await tunnel(new URL(await openUrl(deps.runtime, verb, run, query)), upgrade);
}

async function openUrl(
  runtime: StreamDeps['runtime'],
  verb: StreamVerb,
  run: ContainerState,
  query: URLSearchParams,
): Promise<string> {
  switch (verb) {
    case 'exec':
      return runtime.exec(run.id, parseExecOptions(query));
    case 'attach':
      return runtime.attach(run.id, parseAttachOptions(query));
    case 'portForward':
      return runtime.portForward(run.sandboxId, parsePorts(query));
  }
}

/** For clients that must name the ports in advance: those of WebSocket channels. */
export function parsePorts(query: URLSearchParams): number[] {
  return query
    .getAll('ports')
    .flatMap((value) => value.split(','))
    .map((text) => {
      const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
      if (port < 1 || port > 65535) throw new WindlassError('BadRequest', `ports: ${JSON.stringify(text)} is no port`);
      return port;
    });
}

/** Opens `url` with the client's own upgrade headers and joins the two connections until one of them ends. */
export async function tunnel(url: URL, { request, socket, head }: Upgrade): Promise<void> {
  const upstream = connect({ host: url.hostname, port: Number(url.port) });
  await new Promise<void>((resolve, reject) => {
    upstream.once('connect', resolve);
    upstream.once('error', (cause) =>
      reject(
        new WindlassError('Unavailable', `the streaming server of the runtime cannot be reached: ${cause.message}`, {
          cause,
        }),
      ),
    );
  });
  upstream.write(upgradeRequest(url, request));
  if (head.length > 0) upstream.write(head);
  const end = (): void => {
    upstream.destroy();
    socket.destroy();
  };
  upstream.on('error', end);
  socket.on('error', end);
  upstream.on('close', () => socket.end());
  socket.on('close', () => upstream.destroy());
  upstream.pipe(socket);
  socket.pipe(upstream);
}

/** The head of the upgrade request, as the client sent it but for path, host and credentials. */
export function upgradeRequest(url: URL, request: Pick<IncomingMessage, 'method' | 'rawHeaders'>): string {
  const lines = [`${request.method ?? 'GET'} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (/^(host|authorization|cookie|origin)$/i.test(name)) continue;
    lines.push(`${name}: ${request.rawHeaders[index + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}
