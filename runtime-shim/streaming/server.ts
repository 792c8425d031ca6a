// The streaming server: a loopback listener that answers only URLs that were handed out a moment ago, once each.
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer, type WebSocket } from 'ws';
import { createServer } from '../../lib/http.ts';
import { bindLoopback } from '../host/loopback.ts';
import {
  negotiate,
  PORT_CHANNELS_PROTOCOL,
  PORT_FORWARD_PROTOCOL,
  SPDY,
  TUNNEL_PROTOCOL,
  type Negotiated,
  type Refusal,
} from './negotiate.ts';
import { selectPorts } from './port-list.ts';
import type { StreamTarget } from './targets.ts';
import { createTokens } from './tokens.ts';

/** What the kernel holds for a client that does not read; Linux doubles it. */
const SOCKET_BUFFER_BYTES = 128 * 1024;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Sessions at once, and requests that are about to become one. */
const MAX_CONNECTIONS = 1_024;

/** An upgraded connection; a tunnel through a WebSocket is a SPDY connection here. */
export type Connection =
  | { readonly transport: 'websocket'; readonly protocol: string; readonly socket: WebSocket }
  | { readonly transport: 'spdy'; readonly protocol: string; readonly socket: Duplex };

export interface StreamingServer extends AsyncDisposable {
  /** A URL that opens `target` for the first who connects within a minute. */
  openUrl(target: StreamTarget): string;
}

/** Starts listening; `serve` is called with each accepted connection. */
export async function startStreamingServer(
  serve: (connection: Connection, target: StreamTarget) => void,
): Promise<StreamingServer> {
  const tokens = createTokens();
  const upgraded = new Set<Duplex>();
  const http = createServer((_request, response) => {
    response.writeHead(400).end(`this address takes WebSocket and ${SPDY} connections only\n`);
  });
  http.maxConnections = MAX_CONNECTIONS;
  const webSockets = createWebSocketServer();
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen({ fd: bindLoopback(SOCKET_BUFFER_BYTES) }, resolve);
  });
  const { port } = http.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;

  http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
    socket.on('error', () => socket.destroy());
    // A browser names the page it comes from: no page has business here, whatever name it resolved to loopback.
    if (request.headers.host !== host || request.headers.origin !== undefined) {
      return refuse(socket, { status: '403 Forbidden', reason: 'the request is for another host or from a web page' });
    }
    const found = /^\/(exec|attach|portforward)\/([0-9a-f]{64})(?:\?|$)/.exec(request.url ?? '');
    if (!found) return refuse(socket, { status: '404 Not Found', reason: 'no such URL' });
    const [kind, token] = [found[1] as StreamTarget['kind'], found[2] ?? ''];
    // Before the token is used up: clients that try one protocol after the other come again with it.
    const negotiated = negotiate(kind, request.headers);
    if ('status' in negotiated) return refuse(socket, negotiated);
    let target = tokens.take(kind, token);
    if (!target) return refuse(socket, { status: '404 Not Found', reason: 'the URL is unknown, too old or was used' });
    if (target.kind === 'portforward' && negotiated.protocol === PORT_CHANNELS_PROTOCOL) {
      const ports = selectPorts(request.url ?? '', target);
      if (!ports) return refuse(socket, { status: '400 Bad Request', reason: 'ports: missing or not allowed' });
      target = { ...target, ports };
    }
    serveTarget(target, negotiated, request, socket, head);
  });

  function serveTarget(
    target: StreamTarget,
    negotiated: Negotiated,
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
  ): void {
    socket.setNoDelay(true);
    if (negotiated.transport === 'websocket') {
      webSockets.accept(request, socket, head, negotiated, (webSocket) => {
        serve(toConnection(webSocket, negotiated.protocol), target);
      });
    } else {
      acceptSpdy(socket, head, negotiated);
      serve({ ...negotiated, transport: 'spdy', socket }, target);
    }
  }

  return {
    openUrl: (target) => `http://${host}/${target.kind}/${tokens.issue(target)}`,
    async [Symbol.asyncDispose]() {
      for (const socket of upgraded) socket.destroy();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function toConnection(socket: WebSocket, protocol: string): Connection {
  if (protocol !== TUNNEL_PROTOCOL) return { transport: 'websocket', protocol, socket };
  return { transport: 'spdy', protocol: PORT_FORWARD_PROTOCOL, socket: createWebSocketStream(socket) };
}

function acceptSpdy(socket: Socket, head: Buffer, { protocol }: Negotiated): void {
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', `Upgrade: ${SPDY}`];
  socket.write(`${[...lines, `X-Stream-Protocol-Version: ${protocol}`].join('\r\n')}\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
}

interface WebSocketUpgrader {
  accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    negotiated: Negotiated,
    onOpen: (socket: WebSocket) => void,
  ): void;
}

/** The name of the tunnel protocol holds a slash, which ws rightly refuses, so it never sees the header. */
function createWebSocketServer(): WebSocketUpgrader {
  const protocols = new WeakMap<IncomingMessage, string>();
  const server = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false });
  server.on('headers', (headers, request) => {
    headers.push(`Sec-WebSocket-Protocol: ${protocols.get(request) ?? ''}`);
  });
  return {
    accept(request, socket, head, { protocol }, onOpen) {
      protocols.set(request, protocol);
      delete request.headers['sec-websocket-protocol'];
      server.handleUpgrade(request, socket, head, onOpen);
    },
  };
}

function refuse(socket: Duplex, { status, reason, headers = {} }: Refusal): void {
  const body = `${reason}\n`;
  const all = {
    Connection: 'close',
    'Content-Type': 'text/plain',
    'Content-Length': String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  socket.end(`HTTP/1.1 ${status}\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}
