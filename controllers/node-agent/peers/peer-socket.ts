// What the runtime of this node asks the other nodes by: HTTP on a socket that root alone reaches. The agent has the
// certificate and knows who is in the cluster; the runtime verifies and keeps what comes.
//   GET /peers?digest=D&first=N...      {"peers": [...]}: nodes that have the blob
//   GET /peers/{node}/blobs/{digest}    the blob from that node, with Range
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isAbort, messageOf, reasonOf, WindlassError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { PeerFinder } from './find-peers.ts';
import type { PeerClient } from './peer-client.ts';

/** Of an answer of a peer: what the runtime reads. */
const PASSED_HEADERS = ['content-type', 'content-length', 'content-range', 'retry-after'];

export interface PeerSocketDeps {
  /** In a folder of its own, which nobody but root may enter. */
  readonly path: string;
  readonly finder: PeerFinder;
  readonly client: Pick<PeerClient, 'open'>;
  readonly onLook: (result: 'found' | 'none', seconds: number) => void;
  readonly log: Logger;
}

export interface PeerSocket {
  listen(): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** The socket as a value; nothing happens before listen(). */
export function createPeerSocket(deps: PeerSocketDeps): PeerSocket {
  const { path, log } = deps;
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    handle(deps, request, response, gone.signal).catch((error: unknown) => {
      if (!isAbort(error)) log.debug({ err: error, path: request.url }, 'a peer did not help');
      if (response.headersSent) response.destroy();
      // 503 is what a peer that is busy says: one that cannot be reached is not to be asked again.
      else response.writeHead(reasonOf(error) === 'NotFound' ? 404 : 502).end(messageOf(error));
    });
  });
  return {
    async listen() {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      chmodSync(dirname(path), 0o700);
      rmSync(path, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
    },
    async run(signal) {
      if (!signal.aborted) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      }
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function handle(
  { finder, client, onLook }: PeerSocketDeps,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://peers');
  if (url.pathname === '/peers') {
    const startedAt = performance.now();
    const peers = await finder.find(url.searchParams.get('digest') ?? '', url.searchParams.getAll('first'), signal);
    onLook(peers.length > 0 ? 'found' : 'none', (performance.now() - startedAt) / 1000);
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ peers }));
    return;
  }
  const match = /^\/peers\/([^/]+)\/blobs\/([^/]+)$/.exec(url.pathname);
  if (!match) throw new WindlassError('NotFound', `nothing is at ${url.pathname}`);
  const [nodeName, digest] = match.slice(1).map(decodeURIComponent) as [string, string];
  const address = await finder.addressOf(nodeName, signal);
  if (!address) throw new WindlassError('NotFound', `node ${nodeName} is not Ready`);
  try {
    const answer = await client.open(address, digest, { range: request.headers.range, signal });
    for (const name of PASSED_HEADERS) {
      const value = answer.headers[name];
      if (value !== undefined) response.setHeader(name, value);
    }
    response.writeHead(answer.statusCode ?? 502);
    await pipeline(answer, response, { signal });
  } catch (error) {
    if (!signal.aborted) finder.noteSilence(nodeName);
    throw error;
  }
}
