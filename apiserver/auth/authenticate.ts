// Who is calling: the client certificate's CN is the user, its O are the groups; a join token is a user of its own.
import type { TLSSocket } from 'node:tls';
import { readSubject } from '../../lib/certificate-subject.ts';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { authenticateBootstrapToken } from './bootstrap-token.ts';
import { createNodeIdentities } from './node-identity.ts';
import { nodeNameOf } from './node-rule.ts';
import { noStaticTokens, type StaticTokens } from './static-tokens.ts';
import { AUTHENTICATED, type User } from './user.ts';

export interface Authenticator extends RunPart {
  /** The user of a request. Throws Unauthorized when there is none, saying why to who has shown something true. */
  authenticate(socket: TLSSocket, authorization: string | undefined): User | Promise<User>;
  /** The user of a bearer token. Throws Unauthorized for a token of nobody. */
  identifyToken(token: string): Promise<User>;
}

/** Knows certificates by themselves, and tokens and nodes by what is stored. */
export function createAuthenticator(deps: {
  readonly store: Pick<ResourceStore, 'get' | 'watch' | 'whenReady'>;
  readonly clock: Clock;
  readonly staticTokens?: StaticTokens | undefined;
}): Authenticator {
  const known = new WeakMap<object, User | null>();
  const nodes = createNodeIdentities(deps.store);
  const { staticTokens = noStaticTokens } = deps;
  const identifyToken = async (token: string): Promise<User> =>
    staticTokens.identify(token) ?? (await authenticateBootstrapToken(deps, token));
  return {
    identifyToken,
    name: 'node identities',
    run: nodes.run,
    authenticate(socket, authorization) {
      let user = known.get(socket);
      if (user === undefined) known.set(socket, (user = readUser(socket) ?? null));
      if (user) return isNode(user) ? nodes.check(user, socket) : user;
      const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
      if (token !== undefined) return identifyToken(token);
      throw new WindlassError('Unauthorized', 'Unauthorized');
    },
  };
}

const isNode = (user: User): boolean => user.nodeUid !== undefined || nodeNameOf(user) !== undefined;

function readUser(socket: TLSSocket): User | undefined {
  const subject = readSubject(socket);
  return subject && { ...subject, groups: [...subject.groups, AUTHENTICATED] };
}
