// end-2 and end-10: blobs, whole or in part.
import { parseRange, type ByteRange } from '../../lib/byte-range.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { refuse } from '../oci-errors.ts';
import { streamArrival } from '../upstream/blob-stream.ts';
import { digestHeader, type Answer, type Call, type RouteDeps } from './call.ts';

/** A digest from a path or query; DIGEST_INVALID for anything else. */
export function digestOfText(text: string): Digest {
  try {
    return parseDigest(text);
  } catch (error) {
    throw refuse('DIGEST_INVALID', (error as Error).message, { cause: error });
  }
}

/** GET and HEAD of a blob. A cache that lacks it hands it on while it comes. */
export async function readBlob(deps: RouteDeps, call: Call, repository: string, text: string): Promise<Answer> {
  const digest = digestOfText(text);
  const { store, upstream } = deps;
  const link = store.repository(repository)?.blobs.get(digest);
  if (link && store.content.has(digest)) {
    store.want(repository, digest);
    return answerBlob(call, digest, link.sizeBytes, ({ start, end }) => ({
      ...{ path: store.content.blobPath(digest), start, end },
    }));
  }
  const sizeBytes = await upstream?.sizeOf(repository, digest);
  if (upstream === undefined || sizeBytes === undefined) throw unknownBlob(repository, digest);
  if (call.method === 'HEAD') return answerBlob(call, digest, sizeBytes, () => undefined);
  const arrival = await upstream.fetchBlob(repository, digest, call.signal);
  if (!arrival) throw unknownBlob(repository, digest);
  return answerBlob(call, digest, sizeBytes, ({ start, end }) => streamArrival(arrival, start, end));
}

function answerBlob(
  call: Call,
  digest: Digest,
  sizeBytes: number,
  bodyOf: (range: ByteRange) => Answer['body'],
): Answer {
  const headers = {
    ...digestHeader(digest),
    'content-type': 'application/octet-stream',
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    'cache-control': 'max-age=31536000, immutable',
  };
  if (call.headers['if-none-match']?.includes(`"${digest}"`)) return { status: 304, headers };
  // Ranges are defined for GET alone: RFC 9110 section 14.2.
  const range = call.method === 'GET' ? parseRange(call.headers.range, sizeBytes) : undefined;
  if (range === 'unsatisfiable') {
    return { status: 416, headers: { 'content-range': `bytes */${sizeBytes}`, 'content-length': 0 } };
  }
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
  return {
    status: range ? 206 : 200,
    headers: {
      ...headers,
      'content-length': end - start + 1,
      ...(range ? { 'content-range': `bytes ${start}-${end}/${sizeBytes}` } : {}),
    },
    body: call.method === 'HEAD' ? undefined : bodyOf({ start, end }),
  };
}

/** DELETE of a blob: from this repository; the bytes go when no other has them. */
export async function deleteBlob({ store }: RouteDeps, repository: string, text: string): Promise<Answer> {
  const digest = digestOfText(text);
  if (!(await store.unlinkBlob(repository, digest))) throw unknownBlob(repository, digest);
  return { status: 202, headers: { 'content-length': 0 } };
}

function unknownBlob(repository: string, digest: Digest) {
  return refuse('BLOB_UNKNOWN', `repository ${repository} has no blob ${digest}`);
}
