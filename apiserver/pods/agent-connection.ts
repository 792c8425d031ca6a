// How the API server reaches the agent of a node: over TLS, with a client certificate that agents accept from nobody
// else.
import { Agent, request as httpsRequest } from 'node:https';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { identifyAgent, type AgentAddress } from '../../crds/agent-address.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';

export interface AgentTls {
  readonly cert: string;
  readonly key: string;
  /** The authority that signed the agents' serving certificates. */
  readonly ca: string;
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
      ...identifyAgent(address.nodeName),
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
          ...identifyAgent(address.nodeName),
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
