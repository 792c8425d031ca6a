// How many requests for certificates a join token may have stored: whoever finds a token must not fill the store with them.
import { BOOTSTRAP_USER, BOOTSTRAPPERS } from '../../crds/join.ts';
import { WindlassError } from '../../lib/errors.ts';
import { MASTERS } from '../auth/authorize.ts';
import type { RequestContext, StoredObject } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const REQUESTS = { group: 'certificates.k8s.io', plural: 'certificatesigningrequests' } as const;
const WINDOW_MS = 10_000;

/** Answered ones are kept for an hour, so that the third is about how many machines may join within one, too. */
export const REQUEST_LIMITS = {
  /** Of one token within ten seconds. */
  recent: 50,
  /** Of one token, not answered yet. */
  pending: 100,
  /** Of one token. */
  perToken: 1_000,
  /** Of all tokens together. */
  ofTokens: 5_000,
  bytes: 16 * 1024,
} as const;

/** Rejects with TooManyRequests, or RequestEntityTooLarge. Whoever does not ask by a token is not counted. */
export async function checkRequestQuota(
  store: Pick<ResourceStore, 'list'>,
  object: StoredObject,
  { user, now }: RequestContext,
): Promise<void> {
  if (!user.groups.includes(BOOTSTRAPPERS) || user.groups.includes(MASTERS)) return;
  if (JSON.stringify(object).length > REQUEST_LIMITS.bytes) {
    const message = `the request for a certificate is larger than ${REQUEST_LIMITS.bytes} bytes`;
    throw new WindlassError('RequestEntityTooLarge', message);
  }
  const { entries } = await store.list(REQUESTS, { revision: 0 });
  const ofTokens = entries.filter(({ object: { spec } }) => userOf(spec).startsWith(BOOTSTRAP_USER));
  const own = ofTokens.filter(({ object: { spec } }) => userOf(spec) === user.name);
  const pending = own.filter((entry) => isPending(entry.object));
  const recent = own.filter((entry) => now - Date.parse(entry.object.metadata.creationTimestamp ?? '') < WINDOW_MS);
  const id = user.name.slice(BOOTSTRAP_USER.length);
  const refuse = (why: string): never => {
    throw new WindlassError('TooManyRequests', `too many requests for certificates: ${why}`, {
      details: { retryAfterSeconds: 1 },
    });
  };
  if (recent.length >= REQUEST_LIMITS.recent) {
    refuse(`the token ${id} has made ${recent.length} within ${WINDOW_MS / 1000} s: try again`);
  }
  if (pending.length >= REQUEST_LIMITS.pending) {
    refuse(`${pending.length} of the token ${id} are not answered yet: do the controllers run? See: kubectl get csr`);
  }
  if (own.length >= REQUEST_LIMITS.perToken) {
    refuse(
      `${own.length} of the token ${id} are stored: use another token, or wait until they are removed, an hour later`,
    );
  }
  if (ofTokens.length >= REQUEST_LIMITS.ofTokens) {
    refuse(`${ofTokens.length} of all tokens are stored: revoke the token that makes them, and see: kubectl get csr`);
  }
}

const userOf = (spec: unknown): string => (spec as { username?: string } | undefined)?.username ?? '';

function isPending(object: StoredObject): boolean {
  const status = object['status'] as { certificate?: string; conditions?: readonly { type: string }[] } | undefined;
  return !status?.certificate && !status?.conditions?.some(({ type }) => type === 'Denied' || type === 'Failed');
}
