// How the API server reaches the agent of a node: over TLS, with a client certificate that agents accept from nobody
// else.
import { Agent, request as httpsRequest } from 'node:https';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { Node } from '../../crds/builtin.ts';
import { NODE_USER } from '../../crds/join.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';

export interface AgentTls {
  readonly cert: string;
  readonly key: string;
  /** The authority that signed the agents' serving certificates. */
  readonly ca: string;
}

export interface AgentAddress {
  readonly nodeName: string;
  readonly host: string;
  readonly port: number;
}

export interface AgentConnections {
  /** An ordinary request; resolves with the response's head. */
  get(address: AgentAddress, path: string, signal: AbortSignal): Promise<IncomingMessage>;
  /** The same with a body, sent as it comes; what it throws ends the request, and is thrown. */
  post(address: AgentAddress, path: string, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<IncomingMessage>;
  /** A connection of its own, for an upgrade. */
  open(address: AgentAddress, signal: AbortSignal): Promise<TLSSocket>;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * The Node says itself where its agent listens: that it is the agent of that node is in the certificate, whatever address
 * it was reached at. Only the authority gives out the name of a node.
 */
function identify(nodeName: string): Pick<ConnectionOptions, 'servername' | 'checkServerIdentity'> {
  const wanted = `${NODE_USER}${nodeName}`;
  return {
    // Also keeps the connections and sessions of one node apart from those of another at the same address.
    servername: nodeName,
    checkServerIdentity: (_host, { subject }) =>
      subject?.CN === wanted
        ? undefined
        : new Error(`its certificate is that of ${String(subject?.CN)}, not of ${wanted}`),
  };
}

/** Where the agent of `node` listens. Throws Unavailable when the Node does not say. */
export function agentAddressOf(node: Node): AgentAddress {
  const host = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  const port = node.status?.daemonEndpoints?.kubeletEndpoint.Port;
  if (host === undefined || !port) {
    throw new WindlassError('Unavailable', `node "${node.metadata.name}" has not said yet where its agent listens`);
  }
  return { nodeName: node.metadata.name, host, port };
}

/** Ends a new connection whose handshake is not done in time; how long an answer takes is for who asked. */
function limitConnect(socket: TLSSocket, timeoutMs: number): void {
  if (!socket.connecting) return;
  const onTimeout = (): void => void socket.destroy(new Error('no answer in time'));
  socket.setTimeout(timeoutMs, onTimeout);
  socket.once('secureConnect', () => {
    socket.setTimeout(0, onTimeout);
  });
}

/** Connections are kept open between requests. */
export function createAgentConnections(tls: AgentTls, connectTimeoutMs = CONNECT_TIMEOUT_MS): AgentConnections {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 16, ...tls });
  const unreachable = ({ nodeName, host, port }: AgentAddress, cause: unknown): WindlassError =>
    new WindlassError(
      'Unavailable',
      `the agent of node "${nodeName}" at ${host}:${port} cannot be reached: ${messageOf(cause)}`,
      { cause },
    );
  const begin = (address: AgentAddress, method: string, path: string, signal: AbortSignal): ClientRequest => {
    const request = httpsRequest({
      ...{ agent, method, host: address.host, port: address.port, path, signal },
      ...identify(address.nodeName),
    });
    request.once('socket', (socket) => limitConnect(socket as TLSSocket, connectTimeoutMs));
    return request;
  };
  return {
    get: (address, path, signal) =>
      new Promise((resolve, reject) => {
        const request = begin(address, 'GET', path, signal);
        request.once('error', (error) => reject(signal.aborted ? error : unreachable(address, error)));
        request.once('response', resolve);
        request.end();
      }),
    post: (address, path, body, signal) =>
      new Promise((resolve, reject) => {
        const request = begin(address, 'POST', path, signal);
        let cause: unknown;
        request.once('response', resolve);
        request.once('error', (error) => reject(cause ?? (signal.aborted ? error : unreachable(address, error))));
        const source = Readable.from(body, { objectMode: false });
        source.once('error', (error) => {
          cause = error;
          request.destroy(error);
        });
        // An answer may come before all is sent: a refusal.
        request.once('close', () => source.destroy());
        source.pipe(request);
      }),
    open: (address, signal) =>
      new Promise((resolve, reject) => {
        const socket = connect({
          ...{ host: address.host, port: address.port, ...tls },
          ...identify(address.nodeName),
        });
        limitConnect(socket, connectTimeoutMs);
        const onAbort = (): void => void socket.destroy();
        signal.addEventListener('abort', onAbort, { once: true });
        socket.once('error', (error) => reject(unreachable(address, error)));
        socket.once('secureConnect', () => resolve(socket));
        socket.once('close', () => {
          signal.removeEventListener('abort', onAbort);
          reject(unreachable(address, new Error('the connection was closed')));
        });
      }),
  };
}
