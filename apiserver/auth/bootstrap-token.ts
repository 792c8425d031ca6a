// Join tokens: Secrets of type bootstrap.kubernetes.io/token in kube-system, as upstream has them, except that the
// secret half is stored as its hash only. https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
import { createHash, timingSafeEqual } from 'node:crypto';
import {
  BOOTSTRAP_TOKEN_TYPE,
  BOOTSTRAP_USER,
  BOOTSTRAPPERS,
  TOKEN_HASH_KEY,
  tokenSecretName,
  tokenTexts,
} from '../../crds/join.ts';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { AUTHENTICATED, type User } from './user.ts';

const SECRETS = { group: '', plural: 'secrets' } as const;
const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;

/** SHA-256 of the secret half of a token, in hex. */
export const hashTokenSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** The user a join token stands for. Throws Unauthorized; it says why only to who knows the whole token. */
export async function authenticateBootstrapToken(
  { store, clock }: { readonly store: Pick<ResourceStore, 'get'>; readonly clock: Clock },
  token: string,
): Promise<User> {
  const [, id, secret] = TOKEN.exec(token) ?? [];
  if (id === undefined || secret === undefined)
    throw refuse('the bearer token is not known, and is no join token (abcdef.0123456789abcdef)');
  // Asked from the store: a token that was revoked a moment ago must not work here any more.
  const entry = await store.get(SECRETS, 'kube-system', tokenSecretName(id));
  const data = entry?.object['type'] === BOOTSTRAP_TOKEN_TYPE ? tokenTexts(entry.object['data']) : undefined;
  if (!data || !isSame(hashTokenSecret(secret), data[TOKEN_HASH_KEY] ?? '')) {
    throw refuse(`the token ${id} is not known: it was revoked or mistyped, or is another cluster's`);
  }
  const { expiration } = data;
  // A date that cannot be read is one that nobody may rely on.
  if (expiration !== undefined && !(Date.parse(expiration) > clock.now())) {
    throw refuse(`the token ${id} expired at ${expiration}`);
  }
  if (data['usage-bootstrap-authentication'] !== 'true') {
    throw refuse(`the token ${id} is not for authentication (usage-bootstrap-authentication)`);
  }
  const extra = (data['auth-extra-groups'] ?? '').split(',').filter((group) => group.startsWith(`${BOOTSTRAPPERS}:`));
  return { name: `${BOOTSTRAP_USER}${id}`, groups: [BOOTSTRAPPERS, ...extra, AUTHENTICATED] };
}

const refuse = (why: string): WindlassError => new WindlassError('Unauthorized', `Unauthorized: ${why}`);

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
