// A leader that was killed leaves its lease behind. Its successor on the same machine can see that it is dead, and
// need not wait for the lease to run out.
import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ApiClient } from '../client/client.ts';
import { leaseKind, type Lease } from '../crds/builtin.ts';
import { errnoOf, isConflict, isUnavailable } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** Host, process id namespace, process id, and a part that is never the same again. */
export function processIdentity(): string {
  return [hostname(), pidNamespace(), process.pid, randomUUID().slice(0, 8)].join('_');
}

/** Frees the lease when its holder was a process of this machine that no longer exists; a server that is away is no failure. */
export async function releaseDeadHolder(
  { client, log }: { client: ApiClient; log: Logger },
  { namespace, name }: { namespace: string; name: string },
  signal: AbortSignal,
): Promise<void> {
  const leases = client.kind<Lease>(leaseKind);
  try {
    const lease = await leases.get(name, namespace, signal);
    const holder = lease?.spec?.holderIdentity ?? '';
    if (!lease || !isDeadHere(holder, { host: hostname(), namespace: pidNamespace(), isAlive })) return;
    await leases.update({ ...lease, spec: { ...lease.spec, holderIdentity: '' } }, signal);
    log.info({ holder }, 'the last leader died on this machine, its lease is free');
  } catch (error) {
    // It only saves the wait until the lease runs out.
    if (!isConflict(error) && !isUnavailable(error)) throw error;
  }
}

/** True only when `holder` certainly was a process next to us that is gone. */
export function isDeadHere(
  holder: string,
  self: { host: string; namespace: string; isAlive: (pid: number) => boolean },
): boolean {
  const [host, namespace, pid] = holder.split('_');
  const isHere = host === self.host && namespace === self.namespace && namespace !== '';
  return isHere && /^\d+$/.test(pid ?? '') && !self.isAlive(Number(pid));
}

// Process ids only mean something within their namespace.
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return '';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}
