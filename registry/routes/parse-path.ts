// The paths of the distribution specification, end-1 to end-14, and of the catalog. A repository's name holds slashes,
// so it is what stands before the last word that the specification knows.
import { parseRepositoryName } from '../names.ts';
import { refuse } from '../oci-errors.ts';

export type Route =
  | { readonly kind: 'ping' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: string }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: string }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string };

const NAMED =
  /^(?<name>.*?)\/(?:(?<tags>tags\/list)|blobs\/(?<uploads>uploads)|blobs\/uploads\/(?<upload>[^/]+)|(?<word>manifests|referrers|blobs)\/(?<last>[^/]+))\/?$/s;

/**
 * The route of the path of a URL, as it was sent. Undefined for paths outside of /v2/ and those of no route;
 * NAME_INVALID for a route of a repository that cannot exist.
 */
export function parsePath(path: string): Route | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' };
  if (!path.startsWith('/v2/')) return undefined;
  const rest = path.slice('/v2/'.length);
  if (rest === '_catalog') return { kind: 'catalog' };
  // Nothing that a name, tag, digest or upload may hold is ever written with a percent sign but the colon of a digest.
  const plain = rest.replaceAll(/%3a/gi, ':');
  if (plain.includes('%')) throw refuse('NAME_INVALID', 'the path must not hold percent-encoded characters');
  const groups = lastMatch(plain);
  if (!groups) return undefined;
  const repository = parseRepositoryName(groups['name'] ?? '');
  if (groups['tags'] !== undefined) return { kind: 'tags', repository };
  if (groups['uploads'] !== undefined) return { kind: 'uploads', repository };
  if (groups['upload'] !== undefined) return { kind: 'upload', repository, id: groups['upload'] };
  const last = groups['last'] ?? '';
  if (groups['word'] === 'manifests') return { kind: 'manifest', repository, reference: last };
  if (groups['word'] === 'referrers') return { kind: 'referrers', repository, digest: last };
  return { kind: 'blob', repository, digest: last };
}

function lastMatch(path: string): Record<string, string | undefined> | undefined {
  return NAMED.exec(path)?.groups;
}
