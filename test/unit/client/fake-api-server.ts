// A plain HTTP server whose answers a test scripts one by one, to misbehave in ways a real API server does not.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Connection } from '../../../client/kubeconfig.ts';

export type Answerer = (request: IncomingMessage & { url: string; text: string }, response: ServerResponse) => void;

export interface FakeApiServer extends AsyncDisposable {
  readonly connection: Connection;
  /** `METHOD path` of every request so far. */
  readonly requests: string[];
  readonly bodies: string[];
  /** Replaces what answers from now on. */
  answer(answerer: Answerer): void;
  /** Resets every open connection. */
  resetConnections(): void;
}

/** A server on a free loopback port. */
export async function startFakeApiServer(first: Answerer): Promise<FakeApiServer> {
  let answerer = first;
  const requests: string[] = [];
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      requests.push(`${request.method} ${request.url}`);
      bodies.push(text);
      answerer(Object.assign(request, { url: request.url ?? '/', text }), response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    connection: { server: `http://127.0.0.1:${port}`, namespace: 'default' },
    requests,
    bodies,
    answer: (next) => {
      answerer = next;
    },
    resetConnections: () => server.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function reply(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

/** A Status as the API server sends it. */
export const status = (code: number, reason: string, message: string): object => ({
  apiVersion: 'v1',
  kind: 'Status',
  metadata: {},
  status: 'Failure',
  code,
  reason,
  message,
});
