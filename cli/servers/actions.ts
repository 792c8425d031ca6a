// `windlass server list|remove|leave`: who is a server, and how one stops being one.
import { existsSync, renameSync } from 'node:fs';
import { readKubeconfig, type Connection } from '../../client/kubeconfig.ts';
import { createServersClient, type ServersClient } from '../../client/servers.ts';
import { compactTime } from '../../lib/clock.ts';
import { isUnavailable, messageOf, WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import type { CommandContext } from '../command.ts';
import { readMembers } from '../etcd-member.ts';
import { stopProcesses } from '../stop-processes.ts';
import { renderServers } from './render.ts';

export const SERVER_ACTIONS = ['list', 'remove', 'leave'] as const;

export type ServerAction =
  | { readonly kind: 'list' | 'leave' }
  /** `name` as the list shows it. */
  | { readonly kind: 'remove'; readonly name: string };

/** Does `action`. Throws NotFound for a server that there is not, Conflict for the last one. */
export async function actOnServers(
  action: ServerAction,
  { instance, kubeconfig }: { instance: Instance; kubeconfig: string },
  { output, signal }: Pick<CommandContext, 'output' | 'signal'>,
): Promise<void> {
  const connection = readKubeconfig(kubeconfig);
  if (action.kind === 'leave') {
    const name = await leave(instance, connection, signal);
    return output.note(`${name} has left the cluster; remove what is here with: windlass down --purge`);
  }
  const otherServers = readMembers(instance).flatMap(({ url }) => url ?? []);
  await withClient({ ...connection, otherServers }, async (client) => {
    if (action.kind === 'remove') {
      await client.remove(action.name, signal);
      return output.note(`removed ${action.name}; on that machine: windlass down --purge`);
    }
    const { servers } = await client.list(signal);
    if (servers.length > 0) return output.print(renderServers(servers));
    return output.note('the etcd of this server is not its own: it knows of no other servers');
  });
}

/** Asks another server, as the own one ends with its etcd; then stops what runs here. Answers the name it had. */
async function leave(instance: Instance, connection: Connection, signal: AbortSignal): Promise<string> {
  const { servers, self } = await withClient(connection, (client) => client.list(signal)).catch((error: unknown) => {
    if (!isUnavailable(error)) throw error;
    const message = `this server does not answer (${messageOf(error)}): start it first, or remove it on another one: windlass server remove NAME`;
    throw new WindlassError('Unavailable', message, { cause: error });
  });
  if (self === undefined)
    throw new WindlassError('Conflict', 'the etcd of this server is not its own: it can just be stopped');
  const [server, ...otherServers] = servers.flatMap(({ name, url }) =>
    name === self || url === undefined ? [] : [url],
  );
  if (server === undefined) {
    const message = `${self} is the only server: end the cluster with windlass down --purge`;
    throw new WindlassError('Conflict', message);
  }
  await withClient({ ...connection, server, otherServers }, (client) => client.remove(self, signal));
  await stopProcesses(instance);
  const data = paths.etcdData(instance);
  // Out of the way: a store that has left the others must not be started as if it had not.
  if (existsSync(data)) renameSync(data, `${data}.before-${compactTime(Date.now())}`);
  return self;
}

async function withClient<T>(connection: Connection, use: (client: ServersClient) => Promise<T>): Promise<T> {
  const client = createServersClient(connection);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}
