// Callers are users of the cluster: by their client certificate, or by their bearer token, given as it is or as the
// password of any user name, as `docker login` asks for one. The API server says who has a token and what a user may do:
// pull, push and delete in repository <namespace>/<rest> are get, update and delete of images/layers in <namespace>.
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { refuse } from '../oci-errors.ts';
import type { Access, Caller } from './access.ts';
import type { ClusterUser, Reviews } from './reviews.ts';
import type { Grants, TokenKey } from './token-key.ts';

const VERBS = { pull: 'get', push: 'update', delete: 'delete' } as const;
/** How long an answer of the API server is believed. */
const BELIEVED_MS = 10_000;
const MAX_REMEMBERED = 10_000;

export interface ClusterAccess extends Access {
  /** Who sends a request by its own credentials; tokens of this registry do not count. */
  identifyUser(headers: IncomingHttpHeaders, socket: Socket): Promise<Caller>;
  /** Whose bearer token of the cluster this is. Throws UNAUTHORIZED when it is nobody's. */
  identifySecret(secret: string): Promise<Caller>;
}

/** Access as the API server behind `reviews` decides it. `realm` is where tokens are to be had. */
export function createClusterAccess(
  { reviews, tokens, clock }: { readonly reviews: Reviews; readonly tokens: TokenKey; readonly clock: Clock },
  { anonymousPull }: { readonly anonymousPull: boolean },
): ClusterAccess {
  const decisions = createMemory<boolean>(clock);
  const users = createMemory<ClusterUser | undefined>(clock);

  const callerOf = (user: ClusterUser): Caller => ({
    name: user.name,
    isAnonymous: false,
    hasPartialToken: false,
    async may(action, repository) {
      if (action === 'pull' && anonymousPull) return true;
      const { namespace, name } = splitRepository(repository);
      const key = JSON.stringify([user.name, user.groups, action, repository]);
      return decisions.get(key, () => reviews.isAllowed(user, { verb: VERBS[action], namespace, name }));
    },
    mayList: () =>
      decisions.get(JSON.stringify([user.name, user.groups, 'list']), () =>
        reviews.isAllowed(user, { verb: 'list', namespace: '', name: '' }),
      ),
  });
  const nobody: Caller = {
    name: 'anonymous',
    isAnonymous: true,
    hasPartialToken: false,
    may: (action) => Promise.resolve(action === 'pull' && anonymousPull),
    mayList: () => Promise.resolve(anonymousPull),
  };

  async function identifyUser(headers: IncomingHttpHeaders, socket: Socket): Promise<Caller> {
    const certified = readCertificate(socket);
    if (certified) return callerOf(certified);
    const secret = secretOf(headers.authorization);
    if (secret === undefined) return nobody;
    return identifySecret(secret);
  }

  async function identifySecret(secret: string): Promise<Caller> {
    const user = await users.get(secret, () => reviews.identify(secret));
    if (!user) throw refuse('UNAUTHORIZED', 'the token, or password, is not one of this cluster, or has run out');
    return callerOf(user);
  }

  return {
    identifyUser,
    identifySecret,
    async identify(headers, socket) {
      const [, token] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
      const grants = token === undefined ? undefined : tokens.open(token);
      return grants ? callerWith(grants) : identifyUser(headers, socket);
    },
    challenge(repository, actions, origin) {
      const scope = repository === undefined ? '' : `,scope="repository:${repository}:${actions.join(',')}"`;
      return `Bearer realm="${origin}/token",service="windlass"${scope}`;
    },
  };
}

/** What a token of ours lets its holder do. */
function callerWith({ user, isAnonymous, repositories, mayList }: Grants): Caller {
  return {
    name: user,
    isAnonymous,
    hasPartialToken: true,
    may: (action, repository) => {
      const granted = Object.hasOwn(repositories, repository) ? repositories[repository] : undefined;
      return Promise.resolve(granted?.includes(action) ?? false);
    },
    mayList: () => Promise.resolve(mayList),
  };
}

/** `shop/web/base` is image `web/base` of namespace `shop`; what has one component is of namespace `default`. */
function splitRepository(repository: string): { namespace: string; name: string } {
  const slash = repository.indexOf('/');
  if (slash === -1) return { namespace: 'default', name: repository };
  return { namespace: repository.slice(0, slash), name: repository.slice(slash + 1) };
}

function secretOf(authorization: string | undefined): string | undefined {
  const [, kind = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization ?? '') ?? [];
  if (kind.toLowerCase() === 'bearer') return value;
  if (kind.toLowerCase() !== 'basic') return undefined;
  const text = Buffer.from(value, 'base64').toString();
  return text.slice(text.indexOf(':') + 1) || undefined;
}

function readCertificate(socket: Socket): ClusterUser | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as Record<string, string | string[] | undefined> | undefined;
  const name = subject?.['CN'];
  // One that names a Node is worth nothing without it, which only the API server knows: such a caller is nobody here.
  if (typeof name !== 'string' || name === '' || subject?.['UID'] !== undefined) return undefined;
  const groups = subject?.['O'] ?? [];
  return { name, groups: Array.isArray(groups) ? groups : [groups] };
}

/** Answers that are asked for once within BELIEVED_MS, also while the first is on its way. */
function createMemory<T>(clock: Clock) {
  const known = new Map<string, { readonly untilMs: number; readonly answer: Promise<T> }>();
  return {
    async get(key: string, ask: () => Promise<T>): Promise<T> {
      const found = known.get(key);
      if (found && found.untilMs > clock.now()) return found.answer;
      if (known.size >= MAX_REMEMBERED) known.clear();
      const answer = ask();
      const entry = { untilMs: clock.now() + BELIEVED_MS, answer };
      known.set(key, entry);
      // A question that could not be answered is asked again.
      answer.catch(() => known.get(key) === entry && known.delete(key));
      return answer;
    },
  };
}
