// Sandboxes that no Container owns are taken off the host, each on its own: one that cannot be removed is tried again, ever
// more seldom, is said on the Node, and keeps nobody else waiting.
import { backoffDelayMs } from '../../../lib/backoff.ts';
import { isUnavailable, messageOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { Counter, Gauge, type Registry } from '../../../lib/metrics.ts';
import type { NodeRuntime, SandboxState } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import type { Predecessors } from './predecessors.ts';

const BACKOFF = { initialMs: 1_000, maxMs: 60_000 };

export interface OrphanRemovalDeps {
  readonly runtime: Pick<NodeRuntime, 'version' | 'stopContainer' | 'stopSandbox' | 'removeSandbox'>;
  readonly cache: Pick<RuntimeCache, 'dropSandbox' | 'viewOf'>;
  readonly predecessors: Pick<Predecessors, 'gone'>;
  readonly registry: Registry;
  readonly log: Logger;
  /** Records an Event on the Node; false as long as the Node is not known. */
  readonly tell: (type: 'Normal' | 'Warning', reason: string, message: string) => boolean;
}

export interface OrphanRemoval {
  /** Whether the sandbox was tried and could not be removed: it has its own time for the next try. */
  isStuck(sandboxId: string): boolean;
  /**
   * Removes the sandbox; gives the time until the next try when it cannot be. Throws Unavailable when there is no runtime
   * that could.
   */
  remove(sandbox: SandboxState): Promise<{ readonly retryAfterMs: number } | undefined>;
  /** Forgets those that are stuck no more, for they are not there: `sandboxIds` are all that are. */
  retain(sandboxIds: ReadonlySet<string>): void;
}

/** Registers windlass_node_agent_stuck_orphans and windlass_node_agent_orphan_removal_errors_total. */
export function createOrphanRemoval(deps: OrphanRemovalDeps): OrphanRemoval {
  const { runtime, cache, log, tell } = deps;
  const stuck = new Map<string, { readonly failures: number; readonly told: string | undefined }>();
  const registers = [deps.registry];
  new Gauge({
    name: 'windlass_node_agent_stuck_orphans',
    help: 'Sandboxes that no Container owns and that could not be removed',
    registers,
    collect() {
      this.set(stuck.size);
    },
  });
  const errors = new Counter({
    name: 'windlass_node_agent_orphan_removal_errors_total',
    help: 'Failed tries to remove a sandbox that no Container owns',
    registers,
  });

  const fail = (sandbox: SandboxState, error: unknown): { readonly retryAfterMs: number } => {
    const before = stuck.get(sandbox.id);
    const failures = (before?.failures ?? 0) + 1;
    const message = messageOf(error);
    errors.inc();
    const retryAfterMs = backoffDelayMs(failures, BACKOFF);
    log.warn(
      { err: error, sandboxId: sandbox.id, pod: podOf(sandbox), failures, retryAfterMs },
      'cannot remove a sandbox',
    );
    const isTold =
      message === before?.told ||
      tell('Warning', 'OrphanNotRemoved', `${describe(sandbox)} cannot be removed and is tried again: ${message}`);
    stuck.set(sandbox.id, { failures, told: isTold ? message : before?.told });
    return { retryAfterMs };
  };

  return {
    isStuck: (sandboxId) => stuck.has(sandboxId),
    retain(sandboxIds) {
      for (const id of stuck.keys()) if (!sandboxIds.has(id)) stuck.delete(id);
    },
    async remove(sandbox) {
      log.info({ sandboxId: sandbox.id, pod: podOf(sandbox) }, 'removing a sandbox that no Container owns');
      try {
        await stopContainers(deps, sandbox);
        await runtime.stopSandbox(sandbox.id);
        await runtime.removeSandbox(sandbox.id);
      } catch (error) {
        // No sandbox is to blame for a runtime that is away.
        if (isUnavailable(error)) await runtime.version();
        return fail(sandbox, error);
      }
      cache.dropSandbox(sandbox.id);
      if (stuck.delete(sandbox.id)) tell('Normal', 'OrphanRemoved', `${describe(sandbox)} is removed`);
      return undefined;
    },
  };
}

const podOf = ({ namespace, name }: SandboxState): string => `${namespace}/${name}`;

const describe = (sandbox: SandboxState): string =>
  `sandbox ${sandbox.id} of ${podOf(sandbox)}, which no Container owns,`;

/** With the grace of its spec, as far as that is known: of what went while the agent was away it is not. */
async function stopContainers(
  { runtime, cache, predecessors }: OrphanRemovalDeps,
  sandbox: SandboxState,
): Promise<void> {
  const container = predecessors.gone(sandbox.uid);
  if (!container) return;
  const { metadata, spec } = container;
  const graceSeconds = metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 10;
  const running = cache.viewOf(sandbox.uid).containers.filter(({ state }) => state === 'Running');
  await Promise.all(running.map(({ id }) => runtime.stopContainer(id, graceSeconds)));
}
