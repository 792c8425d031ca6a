// What a URL path asks for. https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris

export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Empty for cluster scope, and for lists over all namespaces. */
  readonly namespace: string;
  /** Empty for collections. */
  readonly name: string;
  /** Empty for the object itself. */
  readonly subresource: string;
}

/** Subresources of namespaces; any other word after a namespace's name is a namespaced resource. */
const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize']);

/** Parses `/api/v1/...` and `/apis/<group>/<version>/...`; undefined when the path names no resource. */
export function parseResourcePath(pathname: string): ResourcePath | undefined {
  let parts: string[];
  try {
    parts = pathname.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    // A malformed percent sequence names nothing.
    return undefined;
  }
  const root = parts.shift();
  const group = root === 'apis' ? parts.shift() : root === 'api' ? '' : undefined;
  const version = parts.shift();
  if (group === undefined || !version || parts.length === 0) return undefined;
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 2 && !NAMESPACE_SUBRESOURCES.has(parts[2] as string)) {
    namespace = parts[1] as string;
    parts.splice(0, 2);
  }
  const [plural = '', name = '', subresource = '', ...rest] = parts;
  if (plural === '' || rest.length > 0) return undefined;
  return { group, version, plural, namespace, name, subresource };
}
