// Revisions of a Service: the hash that marks which template a Container was made from, and the history of templates.
import type { ServiceSpec, ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { shortHash } from '../../lib/instance.ts';

export type Revision = NonNullable<ServiceStatus['revisions']>[number];

const HASH_LENGTH = 10;

/** Hash of a template; the order of keys does not matter. */
export function hashTemplate(template: ServiceSpec['template']): string {
  return shortHash(canonicalJson(template), HASH_LENGTH);
}

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

/**
 * The history with the newest template at its end. A template that was there before moves to the end under a new
 * number, as a rollback does. `limit` old ones are kept besides the newest.
 */
export function recordRevision(
  revisions: readonly Revision[],
  template: ServiceSpec['template'],
  { hash, limit, now }: { hash: string; limit: number; now: number },
): Revision[] {
  const newest = revisions.at(-1);
  if (newest?.hash === hash) return [...revisions].slice(-(limit + 1));
  const next: Revision = {
    revision: (newest?.revision ?? 0) + 1,
    hash,
    createdAt: rfc3339(now),
    template: structuredClone(template) as Record<string, unknown>,
  };
  return [...revisions.filter((revision) => revision.hash !== hash), next].slice(-(limit + 1));
}
