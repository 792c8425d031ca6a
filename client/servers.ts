// The servers of a cluster: who they are, joining, and removing one.
import { JoinAnswer, ServerList, SERVERS_PATH, type JoinRequest } from '../crds/servers.ts';
import { WindlassError } from '../lib/errors.ts';
import type { Connection } from './kubeconfig.ts';
import { createTransport } from './transport.ts';

export interface ServersClient {
  list(signal?: AbortSignal): Promise<ServerList>;
  /** The keys of the cluster, for a token of role server. */
  join(request: JoinRequest, signal?: AbortSignal): Promise<JoinAnswer>;
  /** Its etcd is no member any more, and ends. */
  remove(name: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** A client for the server of `connection`. */
export function createServersClient(connection: Connection): ServersClient {
  const transport = createTransport(connection, { userAgent: 'windlass' });
  return {
    async list(signal) {
      return readServers(await transport.json({ method: 'GET', path: SERVERS_PATH }, signal));
    },
    async join(body, signal) {
      const answer = JoinAnswer.safeParse(await transport.json({ method: 'POST', path: SERVERS_PATH, body }, signal));
      if (answer.success) return answer.data;
      throw new WindlassError('Unavailable', `${connection.server} answered with something that is not the keys`);
    },
    async remove(name, signal) {
      await transport.json({ method: 'DELETE', path: `${SERVERS_PATH}/${encodeURIComponent(name)}` }, signal);
    },
    close: () => transport.close(),
  };
}

/** The servers in an answer to GET; Unavailable for anything else. */
export function readServers(answer: unknown): ServerList {
  const parsed = ServerList.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new WindlassError('Unavailable', `GET ${SERVERS_PATH} was answered with something that is no list of servers`);
}
