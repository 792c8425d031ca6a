// HTTP to whoever answers for the other nodes, at a unix socket: who has a blob, and the blob from one of them.
import { Pool } from 'undici';
import { z } from 'zod';
import { isAbort, WindlassError } from '../../lib/errors.ts';
import type { Digest } from '../digest.ts';
import { dump, networkProblem, readBody, type RegistryResponse } from './transport.ts';

/** The other side has its own, shorter limits; this one is for when it hangs itself. */
const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 64 * 1024;

const peersSchema = z.object({ peers: z.array(z.string().min(1).max(253)).max(64) });

export interface PeerTransport {
  /** Names of peers that have the blob, best first; `first` are asked before others. */
  find(digest: Digest, first: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** The blob from `peer`, after `offset` bytes. Throws with details.status unless the answer is 200 or 206. */
  open(peer: string, digest: Digest, offset: number, signal: AbortSignal): Promise<RegistryResponse>;
  close(): Promise<void>;
}

/** A transport over the socket at `socketPath`. */
export function createPeerTransport(socketPath: string): PeerTransport {
  const pool = new Pool('http://peers', { socketPath, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });

  async function get(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<RegistryResponse> {
    try {
      const answer = await pool.request({ method: 'GET', path, headers, signal });
      return { status: answer.statusCode, headers: answer.headers, body: answer.body };
    } catch (error) {
      if (isAbort(error) || signal.aborted) throw signal.reason ?? error;
      throw new WindlassError('Unavailable', `the other nodes cannot be asked: ${networkProblem(error)}`, {
        cause: error,
      });
    }
  }

  return {
    async find(digest, first, signal) {
      const query = new URLSearchParams({ digest });
      for (const name of first) query.append('first', name);
      const response = await get(`/peers?${query}`, {}, signal);
      const body = await readBody(response, MAX_ANSWER_BYTES, 'the list of nodes that have a blob');
      if (response.status !== 200) {
        throw new WindlassError('Unavailable', `the other nodes cannot be asked: status ${response.status}`);
      }
      return peersSchema.parse(JSON.parse(body.toString('utf8'))).peers;
    },
    async open(peer, digest, offset, signal) {
      const path = `/peers/${encodeURIComponent(peer)}/blobs/${digest}`;
      const response = await get(path, offset > 0 ? { range: `bytes=${offset}-` } : {}, signal);
      if (response.status === 200 || response.status === 206) return response;
      await dump(response.body);
      const reason = response.status === 404 ? 'NotFound' : 'Unavailable';
      throw new WindlassError(reason, `node ${peer} answered ${response.status} for blob ${digest}`, {
        details: { status: response.status },
      });
    },
    close: () => pool.destroy(),
  };
}
