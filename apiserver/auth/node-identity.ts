// The certificate of a node that joined carries the UID of its Node: with the Node deleted, or made anew by another
// machine of the same name, it opens nothing any more, and what it has open is closed. That of a machine which holds the
// authority carries none and makes its Node itself: it stands for a Node of its name until another machine joins as that.
import type { TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { NODE_KEY_ANNOTATION, NODE_USER } from '../../crds/join.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Entry, ResourceStore } from '../storage/resource-store.ts';
import type { User } from './user.ts';
import { nodeNameOf } from './node-rule.ts';

const NODES = { group: '', plural: 'nodes' } as const;
const RETRY_MS = 500;

interface Session {
  readonly user: User;
  readonly sockets: Set<TLSSocket>;
}

/** What a connection is closed by: the Node's UID, or who the node is. */
const sessionOf = ({ name, nodeUid }: Pick<User, 'name' | 'nodeUid'>): string => nodeUid ?? name;

/** To be deleted is enough: a finalizer, which the node itself may have put there, must not keep it in. */
const isDeleting = ({ object }: Entry): boolean => object.metadata.deletionTimestamp !== undefined;

const hasJoined = ({ object }: Entry): boolean => object.metadata.annotations?.[NODE_KEY_ANNOTATION] !== undefined;

const isTheirs = ({ nodeUid }: User, entry: Entry | undefined): boolean => {
  if (nodeUid === undefined) return !entry || !hasJoined(entry);
  return entry !== undefined && entry.object.metadata.uid === nodeUid && !isDeleting(entry);
};

/** Nodes by what is stored of them; memory is asked first, then the store. */
export function createNodeIdentities(store: Pick<ResourceStore, 'get' | 'watch' | 'whenReady'>): {
  /** The user again; throws Unauthorized when its Node is no longer there. */
  check(user: User, socket: TLSSocket): Promise<User>;
  /** Closes the connections of nodes that are deleted, until `signal` fires. */
  run(signal: AbortSignal): Promise<void>;
} {
  const sessions = new Map<string, Session>();

  const isThere = async (user: User): Promise<boolean> => {
    for (const read of [{ revision: 0 }, {}]) {
      if (isTheirs(user, await store.get(NODES, '', nodeNameOf(user) ?? '', read))) return true;
    }
    return false;
  };

  const remember = (user: User, socket: TLSSocket): void => {
    const key = sessionOf(user);
    const session = sessions.get(key) ?? { user, sockets: new Set() };
    sessions.set(key, session);
    if (session.sockets.has(socket)) return;
    session.sockets.add(socket);
    socket.once('close', () => {
      session.sockets.delete(socket);
      if (session.sockets.size === 0) sessions.delete(key);
    });
  };

  const closeAll = (key: string | undefined): void => {
    for (const socket of sessions.get(key ?? '')?.sockets ?? []) socket.destroy();
  };

  return {
    async check(user, socket) {
      // First: a Node that is deleted while it is looked for closes this connection, too.
      remember(user, socket);
      if (!(await isThere(user))) {
        const name = nodeNameOf(user) ?? user.name;
        const why =
          user.nodeUid === undefined
            ? `Unauthorized: another machine has joined as node "${name}"; choose another name with --node-name, or remove that one: kubectl delete node ${name}`
            : `Unauthorized: node "${name}" was deleted, or another machine has joined under its name; join again with a new token`;
        throw new WindlassError('Unauthorized', why);
      }
      return user;
    },
    async run(signal) {
      await store.whenReady(signal).catch(() => undefined);
      while (!signal.aborted) {
        try {
          for await (const { events } of store.watch(NODES, { revision: 0 }, signal)) {
            for (const { type, entry } of events) {
              const { name, uid } = entry.object.metadata;
              if (type === 'DELETED' || isDeleting(entry)) closeAll(uid);
              else if (hasJoined(entry)) closeAll(sessionOf({ name: `${NODE_USER}${name}` }));
            }
          }
        } catch {
          // The watch lost its place: what it missed is asked for one by one.
          await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
        }
        for (const [key, { user }] of sessions) {
          if (!signal.aborted && !(await isThere(user).catch(() => true))) closeAll(key);
        }
      }
    },
  };
}
