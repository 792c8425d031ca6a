// Takes off the host what no object of the cluster stands for any more: objects that were deleted by force, or while the
// agent was away. Nothing is started before the first look has tried to remove the sandboxes of each.
import type { Container } from '../../crds/container.ts';
import { isConflict } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createController, watch, type LoopDeps } from '../runtime/controller.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import type { Result } from '../runtime/reconciler.ts';
import { untilAborted } from '../runtime/until-aborted.ts';
import { removeStrayFolders, type CleanUpDeps } from './clean-up.ts';
import type { Cluster } from './cluster.ts';
import type { ContainerWatches } from './container/controller.ts';
import type { OrphanRemoval } from './container/orphan-removal.ts';
import { findOrphans } from './container/orphans.ts';
import { findStrayRootFilesystems } from './container/rootfs-key.ts';
import { createLateQueue } from './late-queue.ts';
import { removeStrayNetworks, type NetworkReconcilerDeps } from './networks/network-controller.ts';
import type { NodeRuntime, SandboxState } from './runtime/node-runtime.ts';
import type { RuntimeCache } from './runtime/runtime-cache.ts';

const LOOK_EVERY_MS = 30_000;
/** Nothing starts on the node before the first look has succeeded. */
const MAX_BACKOFF_MS = 5_000;
/** The look at everything; any other key is the id of a sandbox that a look could not remove. */
const KEY = 'strays';
const PARALLEL_REMOVALS = 16;
/** A sandbox whose removal hangs keeps one busy. */
const WORKERS = 4;

export interface StrayDeps {
  readonly watched: Pick<ContainerWatches, 'containers'>;
  readonly cluster: Pick<Cluster, 'containers'>;
  readonly runtime: NodeRuntime;
  readonly cache: RuntimeCache;
  readonly cleanUp: CleanUpDeps;
  readonly networks: NetworkReconcilerDeps;
  readonly nodeName: string;
  readonly orphans: OrphanRemoval;
  /** Gets the UIDs of all Containers of this node at each look: what is remembered of others can go. */
  readonly onLook: (uids: ReadonlySet<string>) => void;
}

export interface StrayController {
  readonly part: RunPart;
  /** The runtime is there and has been listed: the first look can be taken, or another one. */
  connected(): void;
  /** Takes another look soon. */
  look(): void;
  /** Resolves when the first look has tried to remove all sandboxes that no Container owns. */
  firstLook(signal: AbortSignal): Promise<void>;
}

/** The controller; its part is run with the others. */
export function createStrayController(loop: LoopDeps, deps: StrayDeps): StrayController {
  const isConnected = Promise.withResolvers<void>();
  const hasLooked = Promise.withResolvers<void>();
  let isLookedAt = false;
  const queue = createLateQueue();
  const look = async (): Promise<Result> => {
    await removeOrphans(deps, queue.add);
    isLookedAt = true;
    hasLooked.resolve();
    await removeStrays(deps);
    return { requeueAfterMs: LOOK_EVERY_MS };
  };
  return {
    connected() {
      isConnected.resolve();
      queue.add(KEY);
    },
    look: () => queue.add(KEY),
    // Asked before each reconciliation: nothing is to be waited for after the first.
    firstLook: async (signal) => {
      if (!isLookedAt) await untilAborted(hasLooked.promise, signal);
    },
    part: createController(loop, {
      name: 'orphans',
      workers: WORKERS,
      maxBackoffMs: MAX_BACKOFF_MS,
      watches: [watch(deps.watched.containers, (_, deleted) => (deleted ? [KEY] : []), { delayMs: 200 })],
      start: (queued) => {
        queue.attach(queued);
        queued.add(KEY);
      },
      reconcile: async (key, { signal }) => {
        await untilAborted(isConnected.promise, signal);
        return key === KEY ? look() : removeAgain(deps, key);
      },
    }),
  };
}

const listOwn = ({ cluster, nodeName }: StrayDeps): Container[] =>
  cluster.containers.list().filter(({ spec }) => spec.nodeName === nodeName);

const listOrphans = (deps: StrayDeps): SandboxState[] =>
  findOrphans(deps.cache.sandboxes(), listOwn(deps), deps.nodeName);

/** Tries each that is not stuck already; `retry` gets the ids of those that are from now on. */
async function removeOrphans(deps: StrayDeps, retry: (sandboxId: string) => void): Promise<void> {
  const orphans = listOrphans(deps);
  deps.orphans.retain(new Set(orphans.map(({ id }) => id)));
  const fresh = orphans.filter(({ id }) => !deps.orphans.isStuck(id));
  await forEachLimit(fresh, PARALLEL_REMOVALS, async (sandbox) => {
    if (await deps.orphans.remove(sandbox)) retry(sandbox.id);
  });
}

async function removeAgain(deps: StrayDeps, sandboxId: string): Promise<Result> {
  const sandbox = listOrphans(deps).find(({ id }) => id === sandboxId);
  const stuck = sandbox && (await deps.orphans.remove(sandbox));
  return stuck ? { requeueAfterMs: stuck.retryAfterMs } : {};
}

/** What sandboxes leave behind. That of one which is still there is not touched. */
async function removeStrays(deps: StrayDeps): Promise<void> {
  const { runtime, cache } = deps;
  for (const key of findStrayRootFilesystems(await runtime.listRootFilesystems(), listOwn(deps))) {
    try {
      await runtime.removeRootFilesystem(key);
    } catch (error) {
      // Its container is still being replaced, or stuck: there is another look.
      if (!isConflict(error)) throw error;
    }
  }
  const uids = new Set(listOwn(deps).map(({ metadata }) => metadata.uid ?? ''));
  deps.onLook(uids);
  await removeStrayFolders(deps.cleanUp, new Set([...uids, ...cache.sandboxes().map(({ uid }) => uid)]));
  await removeStrayNetworks(deps.networks);
}
