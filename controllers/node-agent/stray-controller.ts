// Takes off the host what no object of the cluster stands for any more: objects that were deleted by force, or while the
// agent was away. Nothing is started before the first look is done.
import type { Container } from '../../crds/container.ts';
import { isConflict } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createController, watch, type LoopDeps } from '../runtime/controller.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { untilAborted } from '../runtime/until-aborted.ts';
import { removeStrayFolders, type CleanUpDeps } from './clean-up.ts';
import type { Cluster } from './cluster.ts';
import type { ContainerWatches } from './container/controller.ts';
import { findOrphans } from './container/orphans.ts';
import type { Predecessors } from './container/predecessors.ts';
import { findStrayRootFilesystems } from './container/rootfs-key.ts';
import { createLateQueue } from './late-queue.ts';
import { removeStrayNetworks, type NetworkReconcilerDeps } from './networks/network-controller.ts';
import type { NodeRuntime, SandboxState } from './runtime/node-runtime.ts';
import type { RuntimeCache } from './runtime/runtime-cache.ts';

const LOOK_EVERY_MS = 30_000;
/** Nothing starts on the node before the first look has succeeded. */
const MAX_BACKOFF_MS = 5_000;
const KEY = 'strays';
const PARALLEL_REMOVALS = 16;

export interface StrayDeps {
  readonly watched: Pick<ContainerWatches, 'containers'>;
  readonly cluster: Pick<Cluster, 'containers'>;
  readonly runtime: NodeRuntime;
  readonly cache: RuntimeCache;
  readonly cleanUp: CleanUpDeps;
  readonly networks: NetworkReconcilerDeps;
  readonly nodeName: string;
  readonly predecessors: Pick<Predecessors, 'gone'>;
  /** Gets the UIDs of all Containers of this node at each look: what is remembered of others can go. */
  readonly onLook: (uids: ReadonlySet<string>) => void;
}

export interface StrayController {
  readonly part: RunPart;
  /** The runtime is there and has been listed: the first look can be taken, or another one. */
  connected(): void;
  /** Takes another look soon. */
  look(): void;
  /** Resolves after the first look. */
  firstLook(signal: AbortSignal): Promise<void>;
}

/** The controller; its part is run with the others. */
export function createStrayController(loop: LoopDeps, deps: StrayDeps): StrayController {
  const isConnected = Promise.withResolvers<void>();
  const hasLooked = Promise.withResolvers<void>();
  let isLookedAt = false;
  const queue = createLateQueue();
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
      workers: 1,
      maxBackoffMs: MAX_BACKOFF_MS,
      watches: [watch(deps.watched.containers, (_, deleted) => (deleted ? [KEY] : []), { delayMs: 200 })],
      start: (queued) => {
        queue.attach(queued);
        queued.add(KEY);
      },
      reconcile: async (_, { signal }) => {
        await untilAborted(isConnected.promise, signal);
        await removeStrays(loop, deps);
        isLookedAt = true;
        hasLooked.resolve();
        return { requeueAfterMs: LOOK_EVERY_MS };
      },
    }),
  };
}

async function removeStrays({ log }: LoopDeps, deps: StrayDeps): Promise<void> {
  const { runtime, cache, nodeName } = deps;
  const listOwn = (): Container[] => deps.cluster.containers.list().filter(({ spec }) => spec.nodeName === nodeName);
  await forEachLimit(findOrphans(cache.sandboxes(), listOwn(), nodeName), PARALLEL_REMOVALS, async (sandbox) => {
    const pod = `${sandbox.namespace}/${sandbox.name}`;
    log.info({ sandboxId: sandbox.id, pod }, 'removing a sandbox that no Container owns');
    await stopContainers(deps, sandbox);
    await runtime.stopSandbox(sandbox.id);
    await runtime.removeSandbox(sandbox.id);
    cache.dropSandbox(sandbox.id);
  });
  for (const key of findStrayRootFilesystems(await runtime.listRootFilesystems(), listOwn())) {
    try {
      await runtime.removeRootFilesystem(key);
    } catch (error) {
      // Its container is still being replaced: there is another look.
      if (!isConflict(error)) throw error;
    }
  }
  const uids = new Set(listOwn().map(({ metadata }) => metadata.uid ?? ''));
  deps.onLook(uids);
  await removeStrayFolders(deps.cleanUp, uids);
  await removeStrayNetworks(deps.networks);
}

/** With the grace of its spec, as far as that is known: of what went while the agent was away it is not. */
async function stopContainers({ runtime, cache, predecessors }: StrayDeps, sandbox: SandboxState): Promise<void> {
  const container = predecessors.gone(sandbox.uid);
  if (!container) return;
  const { metadata, spec } = container;
  const graceSeconds = metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 10;
  const running = cache.viewOf(sandbox.uid).containers.filter(({ state }) => state === 'Running');
  await Promise.all(running.map(({ id }) => runtime.stopContainer(id, graceSeconds)));
}
