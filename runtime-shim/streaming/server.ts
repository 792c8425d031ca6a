// The streaming server: a loopback listener that answers only URLs that were handed out a moment ago, once each.
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { PROTOCOLS } from './channels.ts';
import type { ExecTarget } from './exec-session.ts';

const TOKEN_MS = 60_000;
/** Far above what callers hold at once; bounds what a caller that never connects can take. */
const MAX_TOKENS = 1_000;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

export interface StreamingServer extends AsyncDisposable {
  /** A URL that runs `target` for the first who connects within a minute. */
  openUrl(target: ExecTarget): string;
}

/** Starts listening; `serve` is called with each accepted socket. */
export async function startStreamingServer(
  serve: (socket: WebSocket, target: ExecTarget) => void,
): Promise<StreamingServer> {
  const tokens = new Map<string, { readonly target: ExecTarget; readonly expiresAt: number }>();
  const http = createServer((_request, response) => {
    response.writeHead(400).end('this address takes WebSocket connections only\n');
  });
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(0, '127.0.0.1', resolve);
  });
  const { port } = http.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;

  function take(request: IncomingMessage): ExecTarget | undefined {
    const token = /^\/exec\/([0-9a-f]{64})$/.exec((request.url ?? '').split('?')[0] ?? '')?.[1];
    const found = token === undefined ? undefined : tokens.get(token);
    if (token !== undefined) tokens.delete(token);
    return found && found.expiresAt > performance.now() ? found.target : undefined;
  }

  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    // A browser names the page it comes from: no page has business here, whatever name it resolved to loopback.
    if (request.headers.host !== host || request.headers.origin !== undefined) return refuse(socket, '403 Forbidden');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!PROTOCOLS.some((protocol) => offered.includes(protocol))) return refuse(socket, '400 Bad Request');
    const target = take(request);
    if (!target) return refuse(socket, '404 Not Found');
    sockets.handleUpgrade(request, socket, head, (webSocket) => serve(webSocket, target));
  });

  return {
    openUrl(target) {
      const now = performance.now();
      for (const [token, { expiresAt }] of tokens) if (expiresAt <= now) tokens.delete(token);
      // The oldest goes first: a Map keeps the order of insertion.
      for (const token of tokens.keys()) {
        if (tokens.size < MAX_TOKENS) break;
        tokens.delete(token);
      }
      const token = randomBytes(32).toString('hex');
      tokens.set(token, { target, expiresAt: now + TOKEN_MS });
      return `http://${host}/exec/${token}`;
    },
    async [Symbol.asyncDispose]() {
      for (const client of sockets.clients) client.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
