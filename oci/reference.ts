// Image references as people write them (`busybox`, `shop/web:1.2`, `127.0.0.1:5000/a/b@sha256:...`) and their one
// normal form (`docker.io/library/busybox:latest`). Everything stored or compared is in normal form.
import { WindlassError } from '../lib/errors.ts';
import { isDigest, parseDigest, type Digest } from './digest.ts';

/** True for a tag: 1 to 128 characters. */
export const isTag = (text: string): boolean => TAG.test(text);

/** True for one component of a repository's name, as the distribution specification writes them. */
export const isRepositoryComponent = (text: string): boolean => COMPONENT.test(text);

export interface Reference {
  /** Registry host with an optional port, e.g. `docker.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** Path on the registry, e.g. `library/busybox`. */
  readonly repository: string;
  /** Set unless there is a digest only. */
  readonly tag?: string;
  readonly digest?: Digest;
}

const DEFAULT_REGISTRY = 'docker.io';
/** Longest name of a repository: clients bound it together with the host and a slash. */
export const MAX_NAME_LENGTH = 255;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const HOST =
  /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::[0-9]{1,5})?$/;

/**
 * Parses and normalises a reference: `docker.io/library/` and, without tag and digest, `:latest` are implied. Throws
 * Invalid with the text and the part that is wrong.
 */
export function parseReference(text: string): Reference {
  const fail = (problem: string): never => {
    const shown = JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}...` : text);
    throw new WindlassError('Invalid', `invalid reference ${shown}: ${problem}`);
  };
  if (text === '') fail('must not be empty');
  const at = text.indexOf('@');
  const beforeDigest = at === -1 ? text : text.slice(0, at);
  const digestText = at === -1 ? undefined : text.slice(at + 1);
  if (digestText !== undefined && !isDigest(digestText)) {
    try {
      parseDigest(digestText);
    } catch (error) {
      fail((error as Error).message);
    }
  }
  const colon = beforeDigest.lastIndexOf(':');
  const hasTag = colon > beforeDigest.lastIndexOf('/');
  const name = hasTag ? beforeDigest.slice(0, colon) : beforeDigest;
  const tag = hasTag ? beforeDigest.slice(colon + 1) : undefined;
  if (tag !== undefined && !isTag(tag)) {
    fail('tag must be 1 to 128 characters of letters, digits, "_", "." and "-", and must not start with "." or "-"');
  }
  if (digestText === undefined && tag === undefined && /^[0-9a-f]{64}$/.test(name)) {
    fail('64 hex digits are an image id, not a repository name');
  }
  const { registry, repository } = splitName(name);
  if (!HOST.test(registry)) fail(`${JSON.stringify(registry)} is not a registry host`);
  if (repository === '') fail('repository name must not be empty');
  if (/[A-Z]/.test(repository)) fail('repository name must be lower-case');
  for (const component of repository.split('/')) {
    if (!isRepositoryComponent(component)) fail(`${JSON.stringify(component)} is not a repository name component`);
  }
  if (registry.length + 1 + repository.length > MAX_NAME_LENGTH) {
    fail(`name must be at most ${MAX_NAME_LENGTH} characters`);
  }
  const digest = digestText as Digest | undefined;
  return {
    registry,
    repository,
    ...(tag !== undefined ? { tag } : digest === undefined ? { tag: 'latest' } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** `registry/repository`, without tag and digest. */
export function repositoryName(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`;
}

/** The normal form; a reference with a digest is named by it alone, whatever its tag said. */
export function formatReference(reference: Reference): string {
  const name = repositoryName(reference);
  return reference.digest === undefined ? `${name}:${reference.tag ?? 'latest'}` : `${name}@${reference.digest}`;
}

/** parseReference() and formatReference() in one. */
export function normalizeReference(text: string): string {
  return formatReference(parseReference(text));
}

function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost' || /[A-Z]/.test(first);
  let registry = isHost ? first : DEFAULT_REGISTRY;
  let repository = isHost ? name.slice(slash + 1) : name;
  if (registry === 'index.docker.io') registry = DEFAULT_REGISTRY;
  // A host without a dot is upper-case only by mistake: the user meant a repository, which must be lower-case.
  if (/[A-Z]/.test(registry) && !/[.:]/.test(registry)) {
    registry = DEFAULT_REGISTRY;
    repository = name;
  }
  if (registry === DEFAULT_REGISTRY && !repository.includes('/') && repository !== '') {
    repository = `library/${repository}`;
  }
  return { registry, repository };
}
