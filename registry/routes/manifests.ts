// end-3, end-7 and end-9: manifests and the tags that mean them.
import { digestOf, isDigest, splitDigest, type Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS } from '../../oci/manifest.ts';
import { readManifestLink } from '../manifest-link.ts';
import { isTag } from '../names.ts';
import { refuse } from '../oci-errors.ts';
import { findManifest } from '../store/repository.ts';
import { digestOfText } from './blobs.ts';
import { digestHeader, type Answer, type Call, type RouteDeps } from './call.ts';
import { takeRoom } from './quota.ts';
import { readAll } from './read-all.ts';

/** Tags that one push by digest may carry. */
const MAX_TAGS = 64;

/** GET and HEAD: always what was pushed, byte for byte, whatever the client says it accepts. */
export async function readManifest(
  { store, upstream }: RouteDeps,
  call: Call,
  repository: string,
  reference: string,
): Promise<Answer> {
  requireReference(reference);
  await upstream?.fetchManifest(repository, reference, call.signal);
  const own = store.repository(repository);
  const digest = findManifest(own, reference);
  const link = digest === undefined ? undefined : own?.manifests.get(digest);
  if (digest === undefined || !link) throw unknownManifest(repository, reference);
  store.want(repository, digest);
  const headers = {
    ...digestHeader(digest),
    'content-type': link.mediaType,
    'content-length': link.sizeBytes,
    etag: `"${digest}"`,
  };
  if (call.headers['if-none-match']?.includes(headers.etag)) {
    return { status: 304, headers: { ...digestHeader(digest), etag: headers.etag } };
  }
  if (call.method === 'HEAD') return { status: 200, headers };
  return { status: 200, headers, body: await store.content.read(digest, MANIFEST_LIMITS.manifestBytes) };
}

/** PUT of a manifest under a tag, or under its digest, which `tag` parameters may accompany. */
export async function putManifest(deps: RouteDeps, call: Call, repository: string, reference: string): Promise<Answer> {
  requireReference(reference);
  const { store, rules } = deps;
  const bytes = await readAll(call, MANIFEST_LIMITS.manifestBytes, () =>
    refuse('MANIFEST_INVALID', `a manifest may have ${MANIFEST_LIMITS.manifestBytes} bytes`, { status: 413 }),
  );
  const { required, ...link } = readManifestLink(bytes, call.headers['content-type']);
  const wanted = isDigest(reference) ? reference : undefined;
  const digest = digestOf(bytes, wanted ? splitDigest(wanted).algorithm : 'sha256');
  if (wanted !== undefined && wanted !== digest) {
    throw refuse('DIGEST_INVALID', `the manifest has digest ${digest}, the path says ${wanted}`);
  }
  const tags = tagsOf(call, wanted === undefined ? reference : undefined);
  const isHere = store.repository(repository)?.manifests.has(digest) === true;
  using _room = takeRoom(deps, repository, isHere ? 0 : bytes.length);
  using _held = store.hold(digest);
  await store.content.put(bytes, splitDigest(digest).algorithm);
  await store.putManifest(repository, { ...link, digest, tags, required: rules.allowSparse ? [] : required });
  return {
    status: 201,
    headers: {
      location: `/v2/${repository}/manifests/${digest}`,
      ...digestHeader(digest),
      ...(link.subject === undefined ? {} : { 'oci-subject': link.subject }),
      ...(wanted !== undefined && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
      'content-length': 0,
    },
  };
}

/** DELETE of a tag alone, or of a manifest with every tag that means it. */
export async function deleteManifest({ store }: RouteDeps, repository: string, reference: string): Promise<Answer> {
  requireReference(reference);
  const isGone = isDigest(reference)
    ? await store.deleteManifest(repository, reference)
    : await store.deleteTag(repository, reference);
  if (!isGone) throw unknownManifest(repository, reference);
  return { status: 202, headers: { 'content-length': 0 } };
}

function tagsOf({ query }: Call, tag: string | undefined): string[] {
  const tags = [...new Set([...(tag === undefined ? [] : [tag]), ...query.getAll('tag')])];
  if (tags.length > MAX_TAGS) {
    throw refuse('UNSUPPORTED', `${tags.length} tags in one request: at most ${MAX_TAGS}`, { status: 414 });
  }
  for (const each of tags) requireTag(each);
  return tags;
}

/** A tag or a digest; anything with a colon is meant to be a digest. */
function requireReference(reference: string): void {
  if (reference.includes(':')) digestOfText(reference);
  else requireTag(reference);
}

function requireTag(tag: string): void {
  if (isTag(tag)) return;
  const shown = JSON.stringify(tag.length > 160 ? `${tag.slice(0, 160)}...` : tag);
  const want = 'want 1 to 128 letters, digits, "_", "." and "-", the first neither "." nor "-"';
  throw refuse('MANIFEST_INVALID', `invalid tag ${shown}: ${want}`);
}

function unknownManifest(repository: string, reference: string | Digest) {
  return refuse('MANIFEST_UNKNOWN', `repository ${repository} has no manifest ${reference}`);
}
