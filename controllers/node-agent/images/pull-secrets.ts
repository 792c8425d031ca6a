// Registry credentials out of Secrets of type kubernetes.io/dockerconfigjson.
import type { Secret } from '../../../crds/builtin.ts';
import type { Credentials } from '../runtime/node-runtime.ts';
import { registryOf } from './reference.ts';

interface AuthEntry {
  readonly username?: unknown;
  readonly password?: unknown;
  readonly auth?: unknown;
  readonly identitytoken?: unknown;
}

/**
 * The credentials that the first fitting Secret has for the registry of `reference`; undefined when none has any.
 * Keys may be a host, a host with a path, or a URL, as `docker login` writes them; the longest that fits wins.
 */
export function findCredentials(secrets: readonly Secret[], reference: string): Credentials | undefined {
  const repository = repositoryOf(reference);
  for (const secret of secrets) {
    const entries = readAuths(secret)
      .filter(([key]) => covers(key, repository))
      .toSorted(([a], [b]) => b.length - a.length);
    for (const [, entry] of entries) {
      const credentials = readEntry(entry);
      if (credentials) return credentials;
    }
  }
  return undefined;
}

/** One login for each registry that the Secrets have any for; a key that is the bare host goes before one with a path. */
export function listCredentials(secrets: readonly Secret[]): (Credentials & { readonly registry: string })[] {
  const found = new Map<string, { readonly isBare: boolean; readonly credentials: Credentials }>();
  for (const [key, entry] of secrets.flatMap(readAuths)) {
    const slash = key.indexOf('/');
    const registry = slash < 0 ? key : key.slice(0, slash);
    const credentials = readEntry(entry);
    const known = found.get(registry);
    if (credentials && (!known || (!known.isBare && slash < 0)))
      found.set(registry, { isBare: slash < 0, credentials });
  }
  return [...found].map(([registry, { credentials }]) => ({ registry, ...credentials }));
}

function repositoryOf(reference: string): string {
  const registry = registryOf(reference);
  const rest = reference.startsWith(`${registry}/`) ? reference.slice(registry.length + 1) : reference;
  return `${registry}/${rest.split('@')[0]?.replace(/:[^/]*$/, '') ?? ''}`;
}

function readAuths(secret: Secret): [string, AuthEntry][] {
  const encoded = secret.data?.['.dockerconfigjson'];
  if (encoded === undefined) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(encoded, 'base64').toString('utf8'));
  } catch {
    // A damaged Secret gives no credentials; the registry's refusal then names the image.
    return [];
  }
  const auths = (parsed as { auths?: unknown } | null)?.auths;
  if (auths === null || typeof auths !== 'object') return [];
  return Object.entries(auths)
    .filter((pair): pair is [string, AuthEntry] => pair[1] !== null && typeof pair[1] === 'object')
    .map(([key, entry]) => [normaliseKey(key), entry]);
}

function normaliseKey(key: string): string {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/(v1|v2)?\/?$/, '');
  return bare === 'index.docker.io' || bare === 'registry-1.docker.io' ? 'docker.io' : bare;
}

const covers = (key: string, repository: string): boolean => repository === key || repository.startsWith(`${key}/`);

/** `docker login` keeps a refresh token beside an `auth` whose password is empty. */
function readEntry(entry: AuthEntry): Credentials | undefined {
  const { identitytoken } = entry;
  const login = readLogin(entry);
  if (typeof identitytoken !== 'string' || identitytoken === '') return login;
  return { username: '', password: '', ...login, identityToken: identitytoken };
}

function readLogin(entry: AuthEntry): Credentials | undefined {
  if (typeof entry.username === 'string' && typeof entry.password === 'string') {
    return { username: entry.username, password: entry.password };
  }
  if (typeof entry.auth !== 'string') return undefined;
  const decoded = Buffer.from(entry.auth, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 0 ? undefined : { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
