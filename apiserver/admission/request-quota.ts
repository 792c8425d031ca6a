// How many requests for certificates a join token, or a node, may have stored: whoever finds the token, or the key of the
// node, must not fill the store with them.
import { BOOTSTRAP_USER, BOOTSTRAPPERS, NODE_USER } from '../../crds/join.ts';
import { WindlassError } from '../../lib/errors.ts';
import { MASTERS, NODES } from '../auth/authorize.ts';
import type { RequestContext, StoredObject } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const REQUESTS = { group: 'certificates.k8s.io', plural: 'certificatesigningrequests' } as const;
const WINDOW_MS = 10_000;

/**
 * Answered ones are kept for an hour, so that the third is about how many machines may join within one, too. A node needs
 * two in months, and has the same limits but the fourth: whatever others ask for, it can renew.
 */
export const REQUEST_LIMITS = {
  /** Of one token or node within ten seconds. */
  recent: 50,
  /** Of one token or node, not answered yet. */
  pending: 100,
  /** Of one token or node. */
  perUser: 1_000,
  /** Of all tokens together. */
  ofTokens: 5_000,
  bytes: 16 * 1024,
} as const;

/** Rejects with TooManyRequests, or RequestEntityTooLarge. Whoever is neither a token nor a node is not counted. */
export async function checkRequestQuota(
  store: Pick<ResourceStore, 'list'>,
  object: StoredObject,
  { user, now }: RequestContext,
): Promise<void> {
  const isNode = user.groups.includes(NODES);
  if (user.groups.includes(MASTERS) || (!isNode && !user.groups.includes(BOOTSTRAPPERS))) return;
  if (JSON.stringify(object).length > REQUEST_LIMITS.bytes) {
    const message = `the request for a certificate is larger than ${REQUEST_LIMITS.bytes} bytes`;
    throw new WindlassError('RequestEntityTooLarge', message);
  }
  const { entries } = await store.list(REQUESTS, { revision: 0 });
  const objects = entries.map((entry) => entry.object);
  const own = objects.filter(({ spec }) => userOf(spec) === user.name);
  const who = isNode
    ? `the node ${user.name.slice(NODE_USER.length)}`
    : `the token ${user.name.slice(BOOTSTRAP_USER.length)}`;
  const why = userRefusal(own, who, now) ?? (isNode ? undefined : tokensRefusal(objects));
  if (why === undefined) return;
  throw new WindlassError('TooManyRequests', `too many requests for certificates: ${why}`, {
    details: { retryAfterSeconds: 1 },
  });
}

function userRefusal(own: readonly StoredObject[], who: string, now: number): string | undefined {
  const pending = own.filter(isPending).length;
  const recent = own.filter(({ metadata }) => now - Date.parse(metadata.creationTimestamp ?? '') < WINDOW_MS).length;
  if (recent >= REQUEST_LIMITS.recent) return `${who} has made ${recent} within ${WINDOW_MS / 1000} s: try again`;
  if (pending >= REQUEST_LIMITS.pending) {
    return `${pending} of ${who} are not answered yet: do the controllers run? See: kubectl get csr`;
  }
  if (own.length < REQUEST_LIMITS.perUser) return undefined;
  return `${own.length} of ${who} are stored: use another token, or wait until they are removed, an hour later`;
}

function tokensRefusal(objects: readonly StoredObject[]): string | undefined {
  const count = objects.filter(({ spec }) => userOf(spec).startsWith(BOOTSTRAP_USER)).length;
  if (count < REQUEST_LIMITS.ofTokens) return undefined;
  return `${count} of all tokens are stored: revoke the token that makes them, and see: kubectl get csr`;
}

const userOf = (spec: unknown): string => (spec as { username?: string } | undefined)?.username ?? '';

function isPending(object: StoredObject): boolean {
  const status = object['status'] as { certificate?: string; conditions?: readonly { type: string }[] } | undefined;
  return !status?.certificate && !status?.conditions?.some(({ type }) => type === 'Denied' || type === 'Failed');
}
