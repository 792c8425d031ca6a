// end-4 to end-6, end-11, end-13 and end-14: blobs that are pushed, in one piece, in chunks or by mounting.
import type { Digest } from '../../oci/digest.ts';
import { isRepositoryName } from '../names.ts';
import { refuse } from '../oci-errors.ts';
import type { Chunk, Upload } from '../store/uploads.ts';
import { digestOfText } from './blobs.ts';
import { digestHeader, type Answer, type Call, type RouteDeps } from './call.ts';
import { createQuotaCheck, takeRoom } from './quota.ts';
import { parseChunkRange } from './range.ts';

/** Repositories that are tried for a mount that names none: each may cost a question. */
const MAX_SOURCES = 16;

/** POST: a mount, a whole blob, or the start of an upload. */
export async function startUpload(deps: RouteDeps, call: Call, repository: string): Promise<Answer> {
  const mount = call.query.get('mount');
  if (mount !== null) {
    const mounted = await mountBlob(deps, call, repository, digestOfText(mount));
    if (mounted) return mounted;
  }
  const digest = call.query.get('digest');
  const wanted = digest === null ? undefined : digestOfText(digest);
  const algorithm = wanted?.split(':')[0] ?? call.query.get('digest-algorithm') ?? 'sha256';
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw refuse('DIGEST_INVALID', `digest-algorithm ${JSON.stringify(algorithm)} must be sha256 or sha512`);
  }
  // Before the first byte: what is full stays full.
  createQuotaCheck(deps, repository)(Number(call.headers['content-length'] ?? 0));
  const upload = await deps.uploads.start(repository, algorithm);
  if (wanted === undefined) return accepted(upload);
  try {
    await deps.uploads.append(upload, chunkOf(deps, call, upload));
    return await finish(deps, upload, wanted);
  } catch (error) {
    // Its id is known to nobody: there is nothing to go on with.
    await deps.uploads.cancel(upload).catch(() => undefined);
    throw error;
  }
}

/** GET of an upload: where it goes on. */
export function readUpload({ uploads }: RouteDeps, repository: string, id: string): Answer {
  const { 'content-length': _, ...headers } = accepted(uploads.find(repository, id)).headers;
  return { status: 204, headers };
}

/** PATCH: the next chunk. */
export async function appendToUpload(deps: RouteDeps, call: Call, repository: string, id: string): Promise<Answer> {
  const upload = deps.uploads.find(repository, id);
  return accepted(await deps.uploads.append(upload, chunkOf(deps, call, upload)));
}

/** PUT: the last chunk, if there is one, and the digest of it all. */
export async function finishUpload(deps: RouteDeps, call: Call, repository: string, id: string): Promise<Answer> {
  const upload = deps.uploads.find(repository, id);
  const digest = call.query.get('digest');
  if (digest === null) throw refuse('DIGEST_INVALID', 'the query has no digest: want ?digest=<algorithm>:<hex>');
  const wanted = digestOfText(digest);
  return finish(deps, await deps.uploads.append(upload, chunkOf(deps, call, upload)), wanted);
}

/** DELETE: the upload is given up. */
export async function cancelUpload({ uploads }: RouteDeps, repository: string, id: string): Promise<Answer> {
  await uploads.cancel(uploads.find(repository, id));
  return { status: 204 };
}

async function finish({ uploads }: RouteDeps, upload: Upload, digest: Digest): Promise<Answer> {
  await uploads.finish(upload, digest);
  return created(upload.repository, digest);
}

/**
 * Gives the repository a blob of another one that the caller may read; of any that it may read when none is named.
 * Undefined when there is none: the client then sends the bytes, and learns nothing of what it may not see.
 */
async function mountBlob(
  deps: RouteDeps,
  { caller, query }: Call,
  repository: string,
  digest: Digest,
): Promise<Answer | undefined> {
  const { store } = deps;
  const from = query.get('from');
  const holders = (): string[] => store.names().filter((name) => store.repository(name)?.blobs.has(digest));
  const sources = from === null ? holders().slice(0, MAX_SOURCES) : isRepositoryName(from) ? [from] : [];
  using _held = store.hold(digest);
  for (const name of sources) {
    const link = store.repository(name)?.blobs.get(digest);
    if (!link || !(await caller.may('pull', name))) continue;
    const isHere = store.repository(repository)?.blobs.has(digest) === true;
    using _room = takeRoom(deps, repository, isHere ? 0 : link.sizeBytes);
    await store.linkBlob(repository, digest);
    return created(repository, digest);
  }
  return undefined;
}

function chunkOf(deps: RouteDeps, { headers, body }: Call, upload: Upload): Chunk {
  const range = parseChunkRange(headers['content-range']);
  if (range === 'invalid') {
    const shown = JSON.stringify(headers['content-range']);
    throw refuse('BLOB_UPLOAD_INVALID', `invalid Content-Range ${shown}: want <first byte>-<last byte>`);
  }
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
  const rangeLength = range && range.end - range.start + 1;
  if (length !== undefined && rangeLength !== undefined && length !== rangeLength && length > 0) {
    throw refuse('SIZE_INVALID', `Content-Length is ${length}, Content-Range has ${rangeLength} bytes`);
  }
  const known = length ?? rangeLength;
  return {
    body,
    admit: createQuotaCheck(deps, upload.repository, upload),
    ...(range && { start: range.start }),
    ...(known === undefined ? {} : { length: known }),
  };
}

function accepted({ repository, id, offset }: Upload) {
  return {
    status: 202,
    headers: {
      location: `/v2/${repository}/blobs/uploads/${id}`,
      // The end is included; of nothing it is written as 0, as docker's registry does.
      range: `0-${Math.max(offset - 1, 0)}`,
      'docker-upload-uuid': id,
      'content-length': 0,
    },
  };
}

function created(repository: string, digest: Digest): Answer {
  const headers = { location: `/v2/${repository}/blobs/${digest}`, ...digestHeader(digest), 'content-length': 0 };
  return { status: 201, headers };
}
