// Whether this server, which has a store, was removed from the cluster: asked of the others before it joins them anew.
import { existsSync } from 'node:fs';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { createServersClient } from '../../client/servers.ts';
import type { ServerList } from '../../crds/servers.ts';
import { messageOf } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import type { Membership } from '../etcd-member.ts';
import type { Output } from '../output.ts';

/** By what the others may know a server. */
export interface Self {
  readonly names: readonly string[];
  readonly peerUrls: readonly string[];
}

/** Whether the others say so. While none of them answers, this one goes on as it was. */
export async function wasRemoved(
  instance: Instance,
  { servers, self }: Pick<Membership, 'servers'> & { readonly self: Self },
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<boolean> {
  const kubeconfig = paths.adminKubeconfig(instance);
  if (!existsSync(kubeconfig)) return false;
  const client = createServersClient({
    ...readKubeconfig(kubeconfig),
    server: servers[0] ?? '',
    otherServers: servers.slice(1),
  });
  try {
    return lacks(await client.list(AbortSignal.any([signal, AbortSignal.timeout(10_000)])), self);
  } catch (error) {
    if (signal.aborted) throw error;
    output.note(`${servers.join(', ')} cannot be asked (${messageOf(error)}): the server starts as it was`);
    return false;
  } finally {
    await client.close();
  }
}

/**
 * Whether `self` is none of those listed. The name changes with the address, and is missing until the others have seen it;
 * the peer URL changes with the address and with the port. A list without any server says nothing.
 */
export function lacks({ servers }: Pick<ServerList, 'servers'>, { names, peerUrls }: Self): boolean {
  return servers.length > 0 && !servers.some((one) => names.includes(one.name) || peerUrls.includes(one.peerUrl));
}
