// A request that is to be answered as if somebody else had sent it: `kubectl --as`. Who sends it must be allowed the verb
// `impersonate` on each thing that it claims to be.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
import { badRequest, forbidden } from '../routes/api-errors.ts';
import type { Attributes } from './authorize.ts';
import type { Authorize } from './authorizer.ts';
import { ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, type User } from './user.ts';

const PREFIX = 'impersonate-';
const EXTRA_PREFIX = `${PREFIX}extra-`;
const SERVICE_ACCOUNT = /^system:serviceaccount:([a-z0-9]([-a-z0-9]*[a-z0-9])?):([a-z0-9]([-a-z0-9.]*[a-z0-9])?)$/;
const SERVICE_ACCOUNTS = 'system:serviceaccounts';

/** What a request claims to be. */
interface Claim {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid: string;
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/**
 * The user that a request is answered for: `user` itself, or the one that its headers name.
 * `rawHeaders` are names and values in turn, as node:http has them: groups may come in several headers, and hold commas.
 * Throws Forbidden when `user` may not act as that one, BadRequest when the headers name something but no user.
 */
export function actAs(user: User, rawHeaders: readonly string[], authorize: Authorize): User {
  const claim = readClaim(rawHeaders);
  if (!claim) return user;
  const [, namespace, , account] = SERVICE_ACCOUNT.exec(claim.name) ?? [];
  const asked: Partial<Attributes>[] = [
    namespace !== undefined && account !== undefined
      ? { resource: 'serviceaccounts', namespace, name: account }
      : { resource: 'users', name: claim.name },
    ...claim.groups.map((name) => ({ resource: 'groups', name })),
    ...Object.entries(claim.extra).flatMap(([key, values]) =>
      values.map((name) => ({ group: AUTHENTICATION, version: 'v1', resource: 'userextras', subresource: key, name })),
    ),
    ...(claim.uid === '' ? [] : [{ group: AUTHENTICATION, version: 'v1', resource: 'uids', name: claim.uid }]),
  ];
  for (const part of asked) {
    const attributes = { ...ANYTHING, ...part };
    const { allowed, reason } = authorize(user, attributes);
    if (!allowed) throw forbidden(user, attributes, reason);
  }
  const ofAccount = namespace === undefined ? [] : [SERVICE_ACCOUNTS, `${SERVICE_ACCOUNTS}:${namespace}`];
  const groups = claim.groups.length > 0 ? claim.groups : ofAccount;
  return {
    name: claim.name,
    groups: withEverybody(claim.name, groups),
    ...(claim.uid === '' ? {} : { uid: claim.uid }),
    ...(Object.keys(claim.extra).length === 0 ? {} : { extra: claim.extra }),
  };
}

const AUTHENTICATION = 'authentication.k8s.io';
const ANYTHING: Attributes = {
  ...{ verb: 'impersonate', group: '', version: 'v1', resource: '' },
  ...{ subresource: '', namespace: '', name: '' },
};

/** The groups, with the one that everybody is in, or nobody. */
function withEverybody(name: string, groups: readonly string[]): readonly string[] {
  if (groups.includes(AUTHENTICATED) || groups.includes(UNAUTHENTICATED)) return groups;
  return [...groups, name === ANONYMOUS ? UNAUTHENTICATED : AUTHENTICATED];
}

function readClaim(rawHeaders: readonly string[]): Claim | undefined {
  let name = '';
  let uid = '';
  const groups: string[] = [];
  const extra = new Map<string, string[]>();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const header = (rawHeaders[at] as string).toLowerCase();
    if (!header.startsWith(PREFIX)) continue;
    const value = Buffer.from(rawHeaders[at + 1] as string, 'latin1').toString();
    if (header === 'impersonate-user') name ||= value;
    else if (header === 'impersonate-uid') uid ||= value;
    else if (header === 'impersonate-group') groups.push(value);
    else if (header.startsWith(EXTRA_PREFIX)) {
      const key = unescapeKey(header.slice(EXTRA_PREFIX.length));
      extra.set(key, [...(extra.get(key) ?? []), value]);
    } else throw badRequest(`the header ${header} is not known`);
  }
  if (name !== '') return { name, groups, uid, extra: Object.fromEntries(extra) };
  if (groups.length > 0 || uid !== '' || extra.size > 0) {
    throw badRequest('groups, a UID or extra fields are to be impersonated, but no user: Impersonate-User is missing');
  }
  return undefined;
}

/** Keys come escaped as in a URL; one that is no such escape is taken as it is. */
function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
