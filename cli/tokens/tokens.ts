// Join tokens as Secrets of the API server; see crds/join.ts.
import { randomInt } from 'node:crypto';
import type { ApiClient } from '../../client/client.ts';
import { secretKind, type Secret } from '../../crds/builtin.ts';
import {
  BOOTSTRAP_TOKEN_TYPE,
  NODE_ROLE_GROUP,
  SERVER_ROLE_GROUP,
  tokenSecretName,
  tokenTexts,
} from '../../crds/join.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';

const NAMESPACE = 'kube-system';
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** What the bearer of a token becomes. */
export const TOKEN_ROLES = ['node', 'server'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];
const GROUP_OF: Readonly<Record<TokenRole, string>> = { node: NODE_ROLE_GROUP, server: SERVER_ROLE_GROUP };

/** What a token is for; its secret half is never read back. */
export interface TokenFacts {
  readonly id: string;
  /** Undefined of one that lets nobody join. */
  readonly role: TokenRole | undefined;
  readonly description: string;
  /** How many machines may join by it; undefined = any number. */
  readonly uses: number | undefined;
  readonly used: number;
  /** Milliseconds since the epoch; undefined = never. */
  readonly expiresAt: number | undefined;
}

export interface NewToken {
  /** node unless said. */
  readonly role?: TokenRole;
  readonly description: string;
  readonly uses: number | undefined;
  /** 0 = it never expires. */
  readonly ttlSeconds: number;
  readonly now: number;
}

/** Makes a token; its text is in the answer and nowhere else. */
export async function createToken(client: ApiClient, wish: NewToken, signal?: AbortSignal): Promise<string> {
  const [id, secret] = [randomText(6), randomText(16)];
  const texts: Record<string, string> = {
    'token-id': id,
    'token-secret': secret,
    'usage-bootstrap-authentication': 'true',
    'auth-extra-groups': GROUP_OF[wish.role ?? 'node'],
    ...(wish.description === '' ? {} : { description: wish.description }),
    ...(wish.uses === undefined ? {} : { uses: String(wish.uses) }),
    ...(wish.ttlSeconds === 0 ? {} : { expiration: rfc3339(wish.now + wish.ttlSeconds * 1000) }),
  };
  const data = Object.fromEntries(
    Object.entries(texts).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  );
  const metadata = { name: tokenSecretName(id), namespace: NAMESPACE };
  await client.kind<Secret>(secretKind).create({ metadata, type: BOOTSTRAP_TOKEN_TYPE, data }, signal);
  return `${id}.${secret}`;
}

/** All tokens, those that expired too, which are removed a day later. */
export async function listTokens(client: ApiClient, signal?: AbortSignal): Promise<TokenFacts[]> {
  const { items } = await client
    .kind<Secret>(secretKind)
    .list({ namespace: NAMESPACE, fieldSelector: `type=${BOOTSTRAP_TOKEN_TYPE}` }, signal);
  return items.map(factsOf);
}

/** What is known of one token. Throws NotFound. */
export async function getToken(client: ApiClient, id: string, signal?: AbortSignal): Promise<TokenFacts> {
  const secret = await client.kind<Secret>(secretKind).get(tokenSecretName(id), NAMESPACE, signal);
  if (secret?.type !== BOOTSTRAP_TOKEN_TYPE) throw new WindlassError('NotFound', `there is no token ${id}`);
  return factsOf(secret);
}

/** Nobody joins by it any more; nodes that have are not touched. Throws NotFound. */
export async function revokeToken(client: ApiClient, id: string, signal?: AbortSignal): Promise<void> {
  await getToken(client, id, signal);
  await client.kind<Secret>(secretKind).delete(tokenSecretName(id), NAMESPACE, {}, signal);
}

function factsOf({ metadata, data }: Secret): TokenFacts {
  const texts = tokenTexts(data);
  const { uses, expiration, description = '' } = texts;
  const groups = (texts['auth-extra-groups'] ?? '').split(',');
  return {
    id: texts['token-id'] ?? metadata.name,
    role: TOKEN_ROLES.find((role) => groups.includes(GROUP_OF[role])),
    description,
    uses: uses === undefined ? undefined : Number(uses),
    used: (texts['used-by'] ?? '').split('\n').filter((line) => line !== '').length,
    expiresAt: expiration === undefined ? undefined : Date.parse(expiration),
  };
}

const randomText = (length: number): string =>
  Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
