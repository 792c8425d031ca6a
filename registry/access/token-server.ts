// Where docker and others trade credentials for a token: /token, by GET and, in the form of OAuth2, by POST.
// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../lib/clock.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isRepositoryName } from '../names.ts';
import { refuse } from '../oci-errors.ts';
import type { Answer } from '../routes/call.ts';
import type { Action } from './access.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { parseScope, TOKEN_SECONDS, type TokenKey } from './token-key.ts';

const MAX_FORM_BYTES = 64 * 1024;
/** Most scopes of one token: each costs a question. */
const MAX_SCOPES = 32;

/**
 * The answer to a token request: a token for as much of the scopes as the caller may have, which may be nothing. Throws
 * UNAUTHORIZED for credentials that are wrong.
 */
export async function answerTokenRequest(
  { access, tokens, clock }: { readonly access: ClusterAccess; readonly tokens: TokenKey; readonly clock: Clock },
  request: IncomingMessage,
  query: URLSearchParams,
): Promise<Answer> {
  const form = request.method === 'POST' ? await readForm(request) : undefined;
  if (!form && request.method !== 'GET') {
    throw refuse('UNSUPPORTED', `${request.method} is not supported here: want GET or POST`);
  }
  const secret = form && secretOfGrant(form);
  const caller =
    secret === undefined
      ? await access.identifyUser(request.headers, request.socket)
      : await access.identifySecret(secret);
  const scopes = (form ?? query)
    .getAll('scope')
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '');
  if (scopes.length > MAX_SCOPES) {
    throw refuse('UNSUPPORTED', `${scopes.length} scopes in one request: at most ${MAX_SCOPES}`, { status: 400 });
  }
  const repositories: Record<string, Action[]> = {};
  let mayList = false;
  for (const text of scopes) {
    const scope = parseScope(text);
    if (scope?.kind === 'catalog') mayList = await caller.mayList();
    if (scope?.kind !== 'repository' || !isRepositoryName(scope.name)) continue;
    const granted: Action[] = [];
    for (const action of scope.actions) if (await caller.may(action, scope.name)) granted.push(action);
    repositories[scope.name] = [...new Set([...(repositories[scope.name] ?? []), ...granted])];
  }
  const token = tokens.seal({ user: caller.name, isAnonymous: caller.isAnonymous, repositories, mayList });
  const isOffline = form?.get('access_type') === 'offline' || query.get('offline_token') === 'true';
  const body = {
    ...(form ? { scope: grantedScope(repositories, mayList) } : { token }),
    ...{ access_token: token, expires_in: TOKEN_SECONDS, issued_at: rfc3339(clock.now()) },
    // What a client may come back with is what it came with: the cluster's own token, which the cluster can take back.
    ...(isOffline && secret !== undefined ? { refresh_token: secret } : {}),
  };
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify(body),
  };
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') {
    throw refuse('UNSUPPORTED', 'Content-Type: want application/x-www-form-urlencoded', { status: 400 });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) {
      throw refuse('UNSUPPORTED', `the form has more than ${MAX_FORM_BYTES} bytes`, { status: 413 });
    }
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}

/** RFC 6749 sections 4.3 and 6: a password, of any user name, or a refresh token. */
function secretOfGrant(form: URLSearchParams): string {
  const type = form.get('grant_type');
  const field = type === 'password' ? 'password' : type === 'refresh_token' ? 'refresh_token' : undefined;
  if (field === undefined) {
    throw refuse('UNSUPPORTED', `grant_type ${JSON.stringify(type)}: want password or refresh_token`, { status: 400 });
  }
  const secret = form.get(field);
  if (!secret) throw refuse('UNSUPPORTED', `${field}: must be set for grant_type ${type}`, { status: 400 });
  return secret;
}

function grantedScope(repositories: Readonly<Record<string, readonly Action[]>>, mayList: boolean): string {
  const granted = Object.entries(repositories)
    .filter(([, actions]) => actions.length > 0)
    .map(([name, actions]) => `repository:${name}:${actions.join(',')}`);
  return [...granted, ...(mayList ? ['registry:catalog:*'] : [])].join(' ');
}
