// Revisions of a Service: the hash that marks which template a Container was made from, and the history of templates.
// A template keeps its number as long as it is in the history, so that a standing rollbackTo means one template for ever.
import type { ServiceSpec, ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { shortHash } from '../../lib/instance.ts';

export type Revision = NonNullable<ServiceStatus['revisions']>[number];
export type Template = ServiceSpec['template'];

const HASH_LENGTH = 10;
/** Size of all templates of a history together: it is part of every write of the status. */
const MAX_HISTORY_BYTES = 256 * 1024;

/** Hash of a template; the order of keys does not matter. */
export const hashTemplate = (template: Template): string => hashValue(template);

/** Hash of any JSON value; the order of keys does not matter. */
export const hashValue = (value: unknown): string => shortHash(canonicalJson(value), HASH_LENGTH);

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/** The history with `template` in it: under its old number when it was there before, else under the next one. */
export function recordRevision(history: readonly Revision[], template: Template, now: number): readonly Revision[] {
  const hash = hashTemplate(template);
  if (history.some((revision) => revision.hash === hash)) return history;
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
