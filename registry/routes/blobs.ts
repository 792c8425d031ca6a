// end-2 and end-10: blobs, whole or in part.
import { parseRange } from '../../lib/byte-range.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { refuse } from '../oci-errors.ts';
import { digestHeader, type Answer, type Call, type RouteDeps } from './call.ts';

/** A digest from a path or query; DIGEST_INVALID for anything else. */
export function digestOfText(text: string): Digest {
  try {
    return parseDigest(text);
  } catch (error) {
    throw refuse('DIGEST_INVALID', (error as Error).message, { cause: error });
  }
}

/** GET and HEAD of a blob. */
export async function readBlob(deps: RouteDeps, call: Call, repository: string, text: string): Promise<Answer> {
  const digest = digestOfText(text);
  const { store, upstream } = deps;
  if (!store.repository(repository)?.blobs.has(digest)) await upstream?.fetchBlob(repository, digest, call.signal);
  const link = store.repository(repository)?.blobs.get(digest);
  if (!link || !store.content.has(digest)) throw unknownBlob(repository, digest);
  store.want(repository, digest);
  const { sizeBytes } = link;
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
    ...(call.method === 'HEAD' ? {} : { body: { path: store.content.blobPath(digest), start, end } }),
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
