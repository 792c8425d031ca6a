// What API servers, further servers and agents say to each other about the servers of a cluster: the path, and what is
// sent and answered there.
import { z } from 'zod';

/** GET lists the servers, POST lets one join, DELETE of a name below it removes one. */
export const SERVERS_PATH = '/servers';

/** `host:port` by which a server is known and reached; it is the name of its etcd member, too. */
const serverName = z
  .string()
  .max(260)
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'want host:port');

const peerUrl = z
  .string()
  .max(270)
  .regex(/^https:\/\/(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'want https://host:port');

export const JoinRequest = z.strictObject({
  name: serverName,
  /** Where its etcd is reached by the other members. */
  peerUrl,
  /** SHA-256 of a secret of the machine, in hex: who asks again with it has paid already. */
  machine: z.string().regex(/^[0-9a-f]{64}$/, 'want 64 hex digits'),
});
export type JoinRequest = z.infer<typeof JoinRequest>;

const pem = z.string().min(1);
const keyPair = z.strictObject({ cert: pem, key: pem });

/** The keys of the cluster, and what the new etcd member has to know. */
export const JoinAnswer = z.object({
  authority: keyPair,
  etcdAuthority: keyPair,
  serviceAccount: z.strictObject({ publicKey: pem, key: pem }),
  /** For --initial-cluster: all members, the new one included. */
  initialCluster: z.string(),
});
export type JoinAnswer = z.infer<typeof JoinAnswer>;

const server = z.object({
  name: z.string(),
  /** Absent of one that has not started yet. */
  url: z.string().optional(),
  peerUrl: z.string(),
  /** Joining: it does not count for the majority yet. */
  role: z.enum(['Member', 'Joining']),
});
export type Server = z.infer<typeof server>;

export const ServerList = z.object({
  servers: z.array(server),
  /** The name of the one that answers. */
  self: z.string().optional(),
});
export type ServerList = z.infer<typeof ServerList>;

/** Where the API server of an etcd member of that name is; undefined for a name that is no address. */
export const urlOfServer = (name: string): string | undefined =>
  serverName.safeParse(name).success ? `https://${name}` : undefined;
