// Sandboxes made ahead. A sandbox is its namespaces, its /dev/shm and its place in a network, and none of these depends on
// whose it will be, so they are made while nothing else is to be done:
//   s/<id>/ns/{net,ipc,uts}   the pins, s/<id>/shm the mount, where a sandbox of that id has them
//   the network's record      holds the address, and is marked as reserved
// Whoever takes one gets it for good: its id becomes the sandbox's, and it is removed like any other; the network of a
// build is removed by the build. A folder in s/ without a sandbox record is one that nobody took, or that of a build
// whose process is gone: recovery removes it.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { isNamespacePin } from '../host/mount.ts';
import { DEFAULT_SHM_BYTES } from '../rpc/annotations.ts';
import type { Shim } from '../rpc/deps.ts';
import { isMountPoint } from '../snapshots/overlay-mounts.ts';

export type PoolParts = Pick<Shim, 'host' | 'network' | 'log' | 'store'>;

export interface SandboxPool {
  /** Id of a ready sandbox on the network, from now on the caller's; undefined when there is none. */
  take(networkId: string): string | undefined;
  /** How many are ready. */
  size(): number;
  /** Removes one that was taken and is no sandbox's. Namespaces, mounts or attachment that it lacks are no matter. */
  discard(id: string): Promise<void>;
  /** Removes what is ready on the network, on all without one. */
  drain(networkId?: string): Promise<void>;
  /** Removes what an earlier run left. */
  recover(): Promise<void>;
  /** Fills the pool while the shim has nothing else to do. */
  readonly part: RunPart;
}

const KINDS = ['net', 'ipc', 'uts'] as const;
/** Nothing was started for so long: whoever starts many at once needs the processors more than the next one does. */
const QUIET_MS = 40;
/** Rest after a step, in times of what the step took: the busier the machine, the slower the pool fills. */
const REST = 3;

/** An empty pool of at most `capacity` sandboxes, below the folder `sandboxes` of the shim's state. */
export function createSandboxPool(parts: PoolParts, sandboxes: string, capacity: number): SandboxPool {
  const { host, network, log, store } = parts;
  const ready = new Map<string, string[]>();
  /** The network asked for last: that of the next one, most likely. */
  let wanted: string | undefined;
  let askedAt = 0;
  let making: Promise<void> | undefined;
  let wake = (): void => undefined;

  const directory = (id: string): string => join(sandboxes, id);
  const pins = (id: string) => Object.fromEntries(KINDS.map((kind) => [kind, join(directory(id), 'ns', kind)]));
  const shm = (id: string): string => join(directory(id), 'shm');
  const size = (): number => [...ready.values()].reduce((sum, ids) => sum + ids.length, 0);

  const isIntact = (id: string): boolean =>
    Object.values(pins(id)).every(isNamespacePin) && isMountPoint(shm(id)) && network.sandboxStatus(id) !== undefined;

  async function discard(id: string): Promise<void> {
    await network.detachSandbox(id);
    for (const path of Object.values(pins(id))) host.unpinNamespace(path);
    host.unmount(shm(id));
    rmSync(directory(id), { recursive: true, force: true });
  }

  /** The folder comes first: it is what recovery finds. */
  async function make(networkId: string): Promise<void> {
    const id = randomBytes(32).toString('hex');
    try {
      mkdirSync(shm(id), { recursive: true, mode: 0o711 });
      host.createSandboxNamespaces({ ...pins(id), hostname: id.slice(0, 12) });
      host.mountTmpfs(shm(id), `mode=1777,size=${DEFAULT_SHM_BYTES}`);
      await network.reserveSandbox(id, join(directory(id), 'ns', 'net'), networkId);
      // The network was given up, or another one is asked for, while this one was made.
      if (wanted === networkId) ready.set(networkId, [...(ready.get(networkId) ?? []), id]);
      else await discard(id);
    } catch (error) {
      wanted = undefined;
      await discard(id);
      throw error;
    }
  }

  async function drain(networkId?: string): Promise<void> {
    if (networkId === undefined || networkId === wanted) wanted = undefined;
    await making?.catch(() => undefined);
    const ids = networkId === undefined ? [...ready.values()].flat() : (ready.get(networkId) ?? []);
    if (networkId === undefined) ready.clear();
    else ready.delete(networkId);
    for (const id of ids) await discard(id);
  }

  /** One step towards a full pool; false when there is nothing to do now. */
  async function fill(): Promise<boolean> {
    if (wanted === undefined || performance.now() - askedAt < QUIET_MS) return false;
    if (!network.listNetworks().some(({ id }) => id === wanted)) wanted = undefined;
    if (wanted === undefined) return false;
    const [other] = [...ready.keys()].filter((id) => id !== wanted);
    if (size() >= capacity) {
      if (other === undefined) return false;
      // Those of a network that nobody asks for any more make room.
      const [id, ...rest] = ready.get(other) ?? [];
      if (rest.length > 0) ready.set(other, rest);
      else ready.delete(other);
      if (id !== undefined) await discard(id);
      return true;
    }
    making = make(wanted).finally(() => (making = undefined));
    await making;
    return true;
  }

  network.onReservedInTheWay(drain);
  return {
    size,
    drain,
    discard,
    take(networkId) {
      if (capacity === 0) return undefined;
      askedAt = performance.now();
      wanted = networkId;
      wake();
      for (;;) {
        const id = ready.get(networkId)?.shift();
        if (id === undefined || isIntact(id)) return id;
        log.warn({ sandboxId: id }, 'a sandbox that was kept ready is damaged: it is not used');
        discard(id).catch((err: unknown) => log.error({ sandboxId: id, err }, 'failed to remove a damaged sandbox'));
      }
    },
    async recover() {
      const left = new Set([...readdirSync(sandboxes), ...network.listSandboxes()]);
      for (const id of left) if (!store.sandboxes.get(id)) await discard(id);
    },
    part: {
      name: 'sandbox pool',
      async run(signal) {
        while (!signal.aborted) {
          try {
            const startedAt = performance.now();
            if (await fill()) {
              await sleep(REST * (performance.now() - startedAt), undefined, { signal });
              continue;
            }
            const asked = new Promise<void>((resolve) => (wake = resolve));
            // Full: nothing to do until one is taken. Else it is too early.
            const isFull = wanted === undefined || size() >= capacity;
            await (isFull ? untilAborted(asked, signal) : sleep(QUIET_MS, undefined, { signal }));
          } catch (error) {
            if (isAbort(error)) return;
            log.warn({ err: error }, 'failed to keep a sandbox ready');
          }
        }
      },
    },
  };
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const onAbort = (): void => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([promise, aborted]);
  signal.removeEventListener('abort', onAbort);
}
