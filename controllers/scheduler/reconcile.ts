// Gives each unbound Container a node, or says in it why there is none.
import type { Container } from '../../crds/container.ts';
import { isNotFound } from '../../lib/errors.ts';
import type { Cache } from '../runtime/cache.ts';
import { findCondition, setConditions } from '../runtime/conditions.ts';
import { hasFinalizer, isDeleting, NODE_FINALIZER } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { ensureFinalizer, writeStatus } from '../runtime/write.ts';
import { displace, type DisplaceDeps } from './displace.ts';
import { planPlacement } from './plan.ts';
import type { Waiting } from './waiting.ts';

export interface SchedulerDeps extends DisplaceDeps {
  readonly cache: Cache<Container>;
  /** Those that found no node; they are tried again when something on the nodes changes. */
  readonly waiting: Pick<Waiting, 'add' | 'delete'>;
  readonly observeAttempt: (result: 'scheduled' | 'unschedulable', seconds: number) => void;
}

/** Binds one Container. The choice and its entry in the ledger are one step, so that two never take the same place. */
export function createSchedulerReconciler(deps: SchedulerDeps): Reconcile {
  const { containers, ledger, clock } = deps;

  async function bind(container: Container, nodeName: string, signal: AbortSignal): Promise<void> {
    const { name, namespace, resourceVersion, finalizers = [] } = container.metadata;
    const key = `${namespace ?? ''}/${name}`;
    // The finalizer comes with the node: from here on there may be something on a host to clean up.
    const withFinalizer = hasFinalizer(container, NODE_FINALIZER) ? finalizers : [...finalizers, NODE_FINALIZER];
    const patch = { metadata: { resourceVersion, finalizers: withFinalizer }, spec: { nodeName } };
    try {
      ledger.setContainer(await containers.mergePatch(name, namespace, patch, {}, signal));
    } catch (error) {
      ledger.unassume(key);
      if (isNotFound(error)) return;
      throw error;
    }
    deps.events.record(container, { type: 'Normal', reason: 'Scheduled', message: `assigned to node ${nodeName}` });
  }

  async function explain(
    container: Container,
    { reason, message }: { reason: string; message: string },
    signal: AbortSignal,
  ): Promise<void> {
    const before = findCondition(container, 'Scheduled');
    const generation = container.metadata.generation;
    const status = {
      observedGeneration: generation,
      phase: 'Pending',
      reason,
      message,
      conditions: setConditions(
        container.status?.conditions,
        [
          { type: 'Scheduled', status: 'False', reason, message },
          { type: 'Ready', status: 'False', reason, message },
        ],
        { now: clock.now(), generation },
      ),
    };
    await writeStatus(containers, container, status, signal);
    if (before?.message !== message) {
      deps.events.record(container, { type: 'Warning', reason: 'FailedScheduling', message });
    }
  }

  return async (key, { signal }) => {
    const container = deps.cache.get(key);
    if (!container || isDeleting(container)) {
      deps.waiting.delete(key);
      return {};
    }
    if (container.spec.nodeName) {
      deps.waiting.delete(key);
      deps.displaced.delete(key);
      // A node chosen by the user was never bound here, but has to clean up just the same.
      const bound = await ensureFinalizer(containers, container, NODE_FINALIZER, signal);
      const { nodeName } = container.spec;
      if (!container.status?.nodeName && !ledger.nodes().some(({ name }) => name === nodeName)) {
        const message = `node ${nodeName} is not in the cluster`;
        await explain(bound, { reason: 'NodeNotFound', message }, signal);
      }
      return {};
    }
    // Bound already; the cache has not heard of it.
    if (ledger.claim(key)?.uid === container.metadata.uid) return {};

    const startedAt = clock.now();
    const placement = planPlacement(container, ledger.nodes(), deps.context);
    const seconds = (clock.now() - startedAt) / 1000;
    if (placement.kind === 'bind') {
      ledger.assume(container, placement.nodeName);
      deps.waiting.delete(key);
      deps.displaced.delete(key);
      deps.observeAttempt('scheduled', seconds);
      await bind(container, placement.nodeName, signal);
    } else {
      deps.waiting.add(container);
      deps.observeAttempt('unschedulable', seconds);
      const outcome = await displace(deps, container, signal);
      const message = [placement.message, outcome, deps.displaced.get(key)]
        .filter((part) => part !== undefined)
        .join('; ');
      await explain(container, { reason: placement.reason, message }, signal);
    }
    return {};
  };
}
