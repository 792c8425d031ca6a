// Answers a registry's challenges: Basic, or a bearer token from its token server, kept per registry, scope and user.
import { z } from 'zod';
import { WindlassError } from '../../lib/errors.ts';
import { parseChallenge, type Challenge } from './challenge.ts';
import { mayGetCredentials, type Endpoint } from './registries.ts';
import type { RegistryCredentials } from './registry-client.ts';
import { readBody, type RegistryResponse, type Transport } from './transport.ts';

const MAX_TOKEN_BYTES = 1024 * 1024;
/** What a token lives when its server does not say (the distribution specification's default). */
const DEFAULT_TOKEN_SECONDS = 60;

export interface Authorizer {
  /** The Authorization header to try first, from what is known already. */
  current(
    endpoint: Endpoint,
    scopes: readonly string[],
    credentials: RegistryCredentials | undefined,
  ): string | undefined;
  /** A header that answers the challenge in a 401; undefined when there is none that could help. */
  answer(
    response: RegistryResponse,
    endpoint: Endpoint,
    scopes: readonly string[],
    credentials: RegistryCredentials | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined>;
}

interface CachedHeader {
  readonly header: string;
  readonly expiresAt: number;
}

const tokenSchema = z.object({
  token: z.string().max(MAX_TOKEN_BYTES).optional(),
  access_token: z.string().max(MAX_TOKEN_BYTES).optional(),
  expires_in: z.number().optional().catch(undefined),
});

/** Creates an authorizer with an empty cache. */
export function createAuthorizer(transport: Transport): Authorizer {
  const cache = new Map<string, CachedHeader>();
  const keyOf = (endpoint: Endpoint, scopes: readonly string[], credentials: RegistryCredentials | undefined): string =>
    JSON.stringify([endpoint.origin, scopes, credentials ?? null]);

  return {
    current(endpoint, scopes, credentials) {
      const own = endpoint.isMirror ? undefined : credentials;
      if (own?.registryToken) return `Bearer ${own.registryToken}`;
      const cached = cache.get(keyOf(endpoint, scopes, own));
      return cached && cached.expiresAt > transport.clock.now() ? cached.header : undefined;
    },
    async answer(response, endpoint, scopes, credentials, signal) {
      // A mirror is another party: what the user gave for the registry is not for it.
      const own = endpoint.isMirror ? undefined : credentials;
      const challenge = parseChallenge(response.headers['www-authenticate']);
      if (challenge === undefined) return undefined;
      const now = transport.clock.now();
      if (challenge.kind === 'basic') {
        if (own?.username === undefined) return undefined;
        const header = basic(own);
        remember(keyOf(endpoint, scopes, own), { header, expiresAt: now + 3600_000 });
        return header;
      }
      const { token, seconds } = await fetchToken(transport, challenge, endpoint, scopes, own, signal);
      const header = `Bearer ${token}`;
      // Ten seconds early, so that a token does not run out on its way.
      remember(keyOf(endpoint, scopes, own), { header, expiresAt: now + Math.max(seconds - 10, 5) * 1000 });
      return header;
    },
  };

  function remember(key: string, value: CachedHeader): void {
    if (cache.size >= 1000) cache.clear();
    cache.set(key, value);
  }
}

async function fetchToken(
  transport: Transport,
  challenge: Extract<Challenge, { kind: 'bearer' }>,
  endpoint: Endpoint,
  scopes: readonly string[],
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<{ token: string; seconds: number }> {
  const registry = new URL(endpoint.origin).host;
  const realm = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined;
  if (!realm || (realm.protocol !== 'https:' && realm.protocol !== 'http:')) {
    throw new WindlassError('Unauthorized', `registry ${registry} names an invalid token server`);
  }
  if (realm.protocol === 'http:' && !mayGetCredentials(realm, endpoint)) {
    throw new WindlassError(
      'Forbidden',
      `registry ${registry} names a token server without TLS (${realm.host}): refused`,
    );
  }
  const hasCredentials = credentials?.username !== undefined || credentials?.identityToken !== undefined;
  if (hasCredentials && !mayGetCredentials(realm, endpoint)) {
    throw new WindlassError(
      'Forbidden',
      `registry ${registry} names a token server of another domain (${realm.host}): credentials are not sent there ` +
        `unless the registries configuration lists it in tokenHosts`,
    );
  }
  // The scope is ours to say: no more than the request needs, whatever the challenge asks for.
  const form = new URLSearchParams(challenge.service === undefined ? {} : { service: challenge.service });
  if (credentials?.identityToken !== undefined) form.set('scope', scopes.join(' '));
  else for (const scope of scopes) form.append('scope', scope);
  const what = `the token of registry ${registry}`;
  let response: RegistryResponse;
  if (credentials?.identityToken !== undefined) {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', credentials.identityToken);
    form.set('client_id', 'windlass');
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    response = await transport.send(realm, {
      method: 'POST',
      headers,
      body: form.toString(),
      signal,
      followRedirects: false,
    });
  } else {
    for (const [key, value] of form) realm.searchParams.append(key, value);
    const authorization = credentials?.username === undefined ? undefined : basic(credentials);
    response = await transport.send(realm, { authorization, signal, followRedirects: false });
  }
  const body = await readBody(response, MAX_TOKEN_BYTES, what);
  if (response.status === 401 || response.status === 403) {
    throw new WindlassError('Unauthorized', `registry ${registry} refused the credentials for ${scopes.join(' ')}`);
  }
  if (response.status !== 200) {
    throw new WindlassError('Unavailable', `token server ${realm.host} answered ${response.status}`);
  }
  return parseToken(body, realm.host);
}

function parseToken(body: Buffer, host: string): { token: string; seconds: number } {
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new WindlassError('Unavailable', `token server ${host} answered something that is not JSON`, {
      cause: error,
    });
  }
  const result = tokenSchema.safeParse(document);
  const token = result.success ? result.data.token || result.data.access_token : undefined;
  // A header value: a line break in it would be a second header.
  if (!result.success || !token || !/^[\x21-\x7e]+$/.test(token)) {
    throw new WindlassError('Unavailable', `token server ${host} answered without a token`);
  }
  return { token, seconds: result.data.expires_in ?? DEFAULT_TOKEN_SECONDS };
}

function basic({ username = '', password = '' }: RegistryCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
