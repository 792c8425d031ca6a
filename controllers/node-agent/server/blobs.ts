// GET and HEAD /blobs/{digest}: a blob of an image that this node has, for the agents of other nodes and for the API
// server. Which blobs those are is for the runtime to say; who knows a digest may have what it names.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseRange } from '../../../lib/byte-range.ts';
import { errnoOf, WindlassError } from '../../../lib/errors.ts';
import type { FileSender } from '../../../lib/send-file.ts';
import type { Caller } from './caller.ts';

/** Sends at a time, and of those to one node: a pull takes four. */
const MAX_SENDS = 16;
const MAX_SENDS_TO_ONE = 8;
/** For how long a reader may take nothing. */
const STALL_MS = 30_000;

export interface SharedBlob {
  readonly path: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
}

export interface BlobDeps {
  /** A blob that others may have; undefined when there is none. */
  readonly findBlob: (digest: string) => Promise<SharedBlob | undefined>;
  readonly sender: FileSender;
  readonly onSent: (bytes: number) => void;
}

export interface BlobServer {
  /** Answers; throws before anything is sent. */
  serve(caller: Caller, digest: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** A blob server with nothing on its way. */
export function createBlobServer({ findBlob, sender, onSent }: BlobDeps): BlobServer {
  const sends = new Map<string, number>();

  /** Refused rather than queued: whoever asks knows others that may have it. */
  function enter(caller: Caller): Disposable {
    const key = caller.kind === 'node' ? `node ${caller.name}` : caller.kind;
    const own = sends.get(key) ?? 0;
    const all = [...sends.values()].reduce((sum, count) => sum + count, 0);
    if (own >= MAX_SENDS_TO_ONE || all >= MAX_SENDS) {
      throw new WindlassError('TooManyRequests', `the node agent sends ${all} blobs already: ask again in a second`);
    }
    sends.set(key, own + 1);
    return {
      [Symbol.dispose]() {
        const left = (sends.get(key) ?? 1) - 1;
        if (left === 0) sends.delete(key);
        else sends.set(key, left);
      },
    };
  }

  return {
    async serve(caller, digest, request, response) {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw new WindlassError('MethodNotAllowed', `${request.method} of a blob: want GET or HEAD`);
      }
      if (!/^[a-z0-9]+:[0-9a-f]{32,}$/.test(digest)) {
        throw new WindlassError('BadRequest', `invalid digest ${JSON.stringify(digest.slice(0, 160))}`);
      }
      const blob = await findBlob(digest);
      if (!blob) throw new WindlassError('NotFound', `no image of this node has blob ${digest}`);
      const { path, sizeBytes, mediaType } = blob;
      const headers = {
        'content-type': mediaType,
        'accept-ranges': 'bytes',
        'docker-content-digest': digest,
      };
      if (request.method === 'HEAD') {
        response.writeHead(200, { ...headers, 'content-length': sizeBytes }).end();
        return;
      }
      const range = parseRange(request.headers.range, sizeBytes);
      if (range === 'unsatisfiable') {
        response.writeHead(416, { 'content-range': `bytes */${sizeBytes}`, 'content-length': 0 }).end();
        return;
      }
      using _place = enter(caller);
      const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
      response.setTimeout(STALL_MS, () => response.destroy());
      response.writeHead(range ? 206 : 200, {
        ...headers,
        'content-length': end - start + 1,
        ...(range ? { 'content-range': `bytes ${start}-${end}/${sizeBytes}` } : {}),
      });
      try {
        onSent(await sender.send(response, { path, start, end }));
      } catch (error) {
        // Its image was removed in this moment: the connection breaks, and the other side asks elsewhere.
        if (errnoOf(error) !== 'ENOENT') throw error;
        response.destroy();
      }
    },
  };
}
