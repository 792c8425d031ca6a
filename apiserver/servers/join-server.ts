// A further server asks to join: a token of that role, a use of it, a place in etcd, and only then the keys of the cluster.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BOOTSTRAP_USER, SERVER_ROLE_GROUP, tokenSecretName } from '../../crds/join.ts';
import { addUse, readToken } from '../../crds/join-token.ts';
import type { Secret } from '../../crds/builtin.ts';
import { JoinRequest, type JoinAnswer } from '../../crds/servers.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { isReachable } from '../../lib/node-address.ts';
import type { User } from '../auth/user.ts';
import type { StoredObject } from '../resources/resource.ts';
import { parseJson } from '../routes/body.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { Membership } from './membership.ts';

const SECRETS = { group: '', plural: 'secrets' } as const;

export interface JoinServerDeps {
  readonly store: Pick<ResourceStore, 'guaranteedUpdate'>;
  readonly membership: Pick<Membership, 'admit'>;
  /** The folder of the keys, which are read when they are asked for and at no other time. */
  readonly pki: string;
  readonly peerUrl: string;
  readonly log: Logger;
}

/** Answers the keys. Throws Forbidden for who may not have them, BadRequest for a body that is no request. */
export async function joinServer(deps: JoinServerDeps, user: User, body: Buffer): Promise<JoinAnswer> {
  const id = requireServerToken(user);
  const request = parseRequest(body);
  const host = new URL(request.peerUrl).hostname.replaceAll(/[[\]]/g, '');
  const ownHost = new URL(deps.peerUrl).hostname.replaceAll(/[[\]]/g, '');
  if (isReachable(ownHost) && (host === 'localhost' || host === '::1' || host.startsWith('127.'))) {
    const message = `the other servers cannot reach ${request.peerUrl}: say with --advertise, or --listen, by which address they can`;
    throw new WindlassError('BadRequest', message);
  }
  await spend(deps.store, id, { node: request.name, request: request.machine });
  const initialCluster = await deps.membership.admit(request.name, request.peerUrl);
  deps.log.warn({ server: request.name, peerUrl: request.peerUrl, token: id }, 'handed the keys of the cluster over');
  const read = (name: string): string => readFileSync(join(deps.pki, name), 'utf8');
  return {
    authority: { cert: read('ca.crt'), key: read('ca.key') },
    etcdAuthority: { cert: read('etcd-ca.crt'), key: read('etcd-ca.key') },
    serviceAccount: { publicKey: read('sa.pub'), key: read('sa.key') },
    initialCluster,
  };
}

/** The id of the token. Not even an administrator is answered: whoever is one has the keys in a file. */
function requireServerToken({ name, groups }: User): string {
  if (!name.startsWith(BOOTSTRAP_USER)) {
    throw new WindlassError('Forbidden', `${name} may not join as a server: that takes a token of role server`);
  }
  const id = name.slice(BOOTSTRAP_USER.length);
  if (groups.includes(SERVER_ROLE_GROUP)) return id;
  const message = `the token ${id} is not for servers: make one with windlass token create --role server`;
  throw new WindlassError('Forbidden', message);
}

function parseRequest(body: Buffer): JoinRequest {
  const parsed = JoinRequest.safeParse(parseJson(body.toString('utf8')));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new WindlassError('BadRequest', `invalid ${issue?.path.join('.') || 'request'}: ${issue?.message ?? ''}`);
}

/** Counts the use, once for each machine. Throws Forbidden when there is none left, or the token was revoked meanwhile. */
async function spend(
  store: JoinServerDeps['store'],
  id: string,
  use: { readonly node: string; readonly request: string },
): Promise<void> {
  await store.guaranteedUpdate(SECRETS, 'kube-system', tokenSecretName(id), (entry) => {
    const object = entry.clone();
    const token = readToken(object as unknown as Secret);
    if (token.uses === undefined || token.usedBy.some(({ request }) => request === use.request))
      return { kind: 'keep' };
    if (token.usedBy.length >= token.uses) {
      const by = token.usedBy.map(({ node }) => node).join(', ');
      throw new WindlassError(
        'Forbidden',
        `the token ${id} is used up: it was for ${token.uses}, and was used by ${by}`,
      );
    }
    const data = { ...(object as { data?: Record<string, string> }).data, ...addUse(token, use) };
    return { kind: 'put', object: { ...object, data } as StoredObject };
  });
}
