// Revisions of a Service: the hash that marks which template a Container was made from, and the history of templates.
// A template keeps its number as long as it is in the history, so that a standing rollbackTo means one template for ever.
import { withoutDefaults } from '../../crds/defaults.ts';
import { toOpenApi } from '../../crds/open-api.ts';
import { ServiceSpec, type ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { shortHash } from '../../lib/instance.ts';

export type Revision = NonNullable<ServiceStatus['revisions']>[number];
export type Template = ServiceSpec['template'];

const HASH_LENGTH = 10;
/** Size of all templates of a history together: it is part of every write of the status. */
const MAX_HISTORY_BYTES = 256 * 1024;

const SPEC = toOpenApi(ServiceSpec);

// A cached object is never changed, and its template is asked about with each look at its Service.
const hashes = new WeakMap<Template, string>();

/** Hash of what is written in a template: neither the order of keys nor a field that has its default matters. */
export function hashTemplate(template: Template): string {
  const before = hashes.get(template);
  if (before !== undefined) return before;
  const hash = hashOf({ template });
  if (Object.isFrozen(template)) hashes.set(template, hash);
  return hash;
}

/** Hash of some fields of a Service's spec, in the same way. */
export const hashSettings = (fields: Partial<ServiceSpec>): string => hashOf(fields);

/** Whether `hash` is that of the fields, also as versions made it that counted defaults in. */
export const isHashOfSettings = (hash: string, fields: Partial<ServiceSpec>): boolean =>
  hash === hashSettings(fields) || hash === shortHash(canonicalJson(present(fields)), HASH_LENGTH);

const present = (fields: object): object => JSON.parse(JSON.stringify(fields)) as object;

const hashOf = (fields: Partial<ServiceSpec>): string => shortHash(canonicalFields(fields), HASH_LENGTH);

const canonicalFields = (fields: Partial<ServiceSpec>): string => canonicalJson(withoutDefaults(SPEC, fields));

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/**
 * The revision that `template` is. One that was recorded by a version that hashed otherwise is found by what is written
 * in it, so that its Containers stay.
 */
export function revisionOf(history: readonly Revision[], template: Template): Revision | undefined {
  const hash = hashTemplate(template);
  const known = history.find((revision) => revision.hash === hash);
  if (known || history.length === 0) return known;
  const written = canonicalFields({ template });
  return history.findLast((revision) => {
    const recorded = templateOf(revision);
    return recorded !== undefined && canonicalFields({ template: recorded }) === written;
  });
}

/** The history with `template` in it: under its old number when it was there before, else under the next one. */
export function recordRevision(history: readonly Revision[], template: Template, now: number): readonly Revision[] {
  if (revisionOf(history, template)) return history;
  const hash = hashTemplate(template);
  const next: Revision = {
    revision: Math.max(0, ...history.map(({ revision }) => revision)) + 1,
    hash,
    createdAt: rfc3339(now),
    template: structuredClone(template) as Record<string, unknown>,
  };
  return [...history, next].toSorted((a, b) => a.revision - b.revision);
}

/**
 * The history without its oldest revisions beyond `limit`, not counting those with a hash of `inUse`, and as far as
 * it is not too large. The highest number stays: it must not be given away a second time.
 */
export function pruneRevisions(
  history: readonly Revision[],
  { inUse, limit }: { inUse: ReadonlySet<string | undefined>; limit: number },
): Revision[] {
  const newest = history.at(-1);
  const isKept = (revision: Revision): boolean => revision === newest || inUse.has(revision.hash);
  let old = history.filter((revision) => !isKept(revision)).length;
  let bytes = history.reduce((sum, revision) => sum + sizeOf(revision), 0);
  return history.filter((revision) => {
    if (isKept(revision) || (old <= limit && bytes <= MAX_HISTORY_BYTES)) return true;
    old -= 1;
    bytes -= sizeOf(revision);
    return false;
  });
}

const sizeOf = ({ template }: Revision): number => Buffer.byteLength(JSON.stringify(template ?? {}));

export const findRevision = (history: readonly Revision[], number: number | undefined): Revision | undefined =>
  history.find(({ revision }) => revision === number);

/** The template of a revision, as it was defaulted when it was recorded. */
export const templateOf = (revision: Revision | undefined): Template | undefined =>
  revision?.template as Template | undefined;
