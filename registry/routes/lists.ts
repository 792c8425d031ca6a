// Lists that come in pages: tags (end-8), referrers (end-12) and the catalog, which is docker's and outside of the
// specification. A page is bounded whatever the client asks for; Link says where the next one begins.
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { MANIFEST_LIMITS } from '../../oci/manifest.ts';
import { readAnnotations } from '../manifest-link.ts';
import { refuse } from '../oci-errors.ts';
import { digestOfText } from './blobs.ts';
import { JSON_TYPE, type Answer, type Call, type RouteDeps } from './call.ts';

/** Most entries of one page. */
const MAX_PAGE = 10_000;
/** The same for referrers, each of which is a manifest that is read. */
const MAX_REFERRERS = 500;

/** GET of a repository's tags. */
export function listTags({ store }: RouteDeps, { query }: Call, repository: string): Answer {
  const own = store.repository(repository);
  if (!own) throw refuse('NAME_UNKNOWN', `repository ${repository} is not known`);
  const page = pageOf([...own.tags.keys()].toSorted(), query);
  const link = page.next && `/v2/${repository}/tags/list?${page.next}`;
  return jsonPage({ name: repository, tags: page.entries }, link);
}

/** GET of the names of the repositories that the caller may pull from; a token for some of them shows these alone. */
export async function listCatalog({ store }: RouteDeps, { query, caller, signal }: Call): Promise<Answer> {
  const size = pageSizeOf(query);
  const last = query.get('last') ?? '';
  const mayList = await caller.mayList();
  const visible: string[] = [];
  for (const name of store.names()) {
    // One more than the page: whether there is a next one.
    if (visible.length > size) break;
    signal.throwIfAborted();
    if (name > last && (mayList || (await caller.may('pull', name)))) visible.push(name);
  }
  const page = pageOf(visible, query);
  return jsonPage({ repositories: page.entries }, page.next && `/v2/_catalog?${page.next}`);
}

/** GET of what refers to a manifest, which need not be there itself. */
export async function listReferrers(
  { store, upstream }: RouteDeps,
  { query, signal }: Call,
  repository: string,
  text: string,
): Promise<Answer> {
  const subject = digestOfText(text);
  // What is here is not all there is: clients then ask for the tag that stands for the list.
  if (upstream) {
    throw refuse('UNSUPPORTED', `this registry is a cache: ask ${upstream.registry} for referrers`, { status: 404 });
  }
  const own = store.repository(repository);
  const artifactType = query.get('artifactType');
  const last = query.get('last') ?? '';
  const manifests: object[] = [];
  let bytes = 0;
  let next: string | undefined;
  for (const digest of [...(own?.referrers.get(subject) ?? [])].toSorted()) {
    signal.throwIfAborted();
    const link = own?.manifests.get(digest);
    if (!link || digest <= last || (artifactType !== null && link.artifactType !== artifactType)) continue;
    const annotations = readAnnotations(await store.content.read(digest, MANIFEST_LIMITS.manifestBytes));
    const descriptor = {
      mediaType: link.mediaType,
      digest,
      size: link.sizeBytes,
      ...(link.artifactType === undefined ? {} : { artifactType: link.artifactType }),
      ...(annotations === undefined ? {} : { annotations }),
    };
    const size = JSON.stringify(descriptor).length + 1;
    // A client reads an index of this size and no larger one.
    if (
      manifests.length === MAX_REFERRERS ||
      (manifests.length > 0 && bytes + size > MANIFEST_LIMITS.manifestBytes - 1024)
    ) {
      next = String((manifests.at(-1) as { digest: string }).digest);
      break;
    }
    bytes += size;
    manifests.push(descriptor);
  }
  const more = new URLSearchParams({ ...(artifactType === null ? {} : { artifactType }), last: next ?? '' });
  const { headers, ...answer } = jsonPage(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests },
    next === undefined ? undefined : `/v2/${repository}/referrers/${subject}?${more}`,
  );
  return {
    ...answer,
    headers: {
      ...headers,
      'content-type': MEDIA_TYPES.ociIndex,
      ...(artifactType === null ? {} : { 'oci-filters-applied': 'artifactType' }),
    },
  };
}

function pageSizeOf(query: URLSearchParams): number {
  const text = query.get('n');
  if (text !== null && !/^\d{1,15}$/.test(text)) {
    throw refuse('UNSUPPORTED', `invalid n ${JSON.stringify(text.slice(0, 40))}: want a number from 0 on`, {
      status: 400,
    });
  }
  return Math.min(text === null ? MAX_PAGE : Number(text), MAX_PAGE);
}

function pageOf(sorted: readonly string[], query: URLSearchParams): { entries: readonly string[]; next?: string } {
  const size = pageSizeOf(query);
  const last = query.get('last');
  const rest = last === null || last === '' ? sorted : sorted.filter((entry) => entry > last);
  const entries = rest.slice(0, size);
  if (size === 0 || entries.length === rest.length) return { entries };
  return { entries, next: new URLSearchParams({ n: String(size), last: entries.at(-1) ?? '' }).toString() };
}

function jsonPage(document: object, link: string | undefined): Answer & { headers: Record<string, string> } {
  return {
    status: 200,
    headers: { ...JSON_TYPE, ...(link ? { link: `<${link}>; rel="next"` } : {}) },
    body: JSON.stringify(document),
  };
}
