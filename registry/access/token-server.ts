// Where docker and others trade credentials for a token: GET /token, as docker's registry has it.
// https://distribution.github.io/distribution/spec/auth/token/
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../lib/clock.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isRepositoryName } from '../names.ts';
import { refuse } from '../oci-errors.ts';
import type { Answer } from '../routes/call.ts';
import type { Action } from './access.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { parseScope, TOKEN_SECONDS, type TokenKey } from './token-key.ts';

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
  if (request.method !== 'GET') {
    // The form of OAuth2, which clients fall back from.
    throw refuse('UNSUPPORTED', `${request.method} is not supported here: want GET`);
  }
  const caller = await access.identifyUser(request.headers, request.socket);
  const scopes = query
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
  const body = { token, access_token: token, expires_in: TOKEN_SECONDS, issued_at: rfc3339(clock.now()) };
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify(body),
  };
}
