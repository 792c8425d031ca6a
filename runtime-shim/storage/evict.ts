// Ending a container that takes more of the disk than it may, as the kubelet evicts a pod: no grace, and its writable
// layer goes with it, since what it wrote is what was too much.
import { isLive } from '../store/records.ts';
import type { Shim } from '../rpc/deps.ts';
import { stopRecord } from '../rpc/stop-container.ts';

/** Ends a running container; its status says `message`. One that has ended by itself meanwhile is left as it is. */
export async function evictContainer(shim: Shim, containerId: string, message: string): Promise<void> {
  await shim.queue.run(containerId, async () => {
    const record = shim.store.containers.get(containerId);
    // On disk first: a shim that is killed right after this still says why the container ended.
    if (isLive(record)) shim.store.containers.note({ ...record, eviction: message });
  });
  shim.log.warn({ container: containerId, reason: message }, 'evicting a container');
  await stopRecord(shim, containerId, 0);
}
