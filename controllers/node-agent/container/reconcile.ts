// Makes one Container of this node true: look, plan, take a step, look again, until there is nothing to do; then say
// in its status how it stands, in one write.
import type { KindClient } from '../../../client/client.ts';
import type { Container } from '../../../crds/container.ts';
import { isConflict, isNotFound, messageOf } from '../../../lib/errors.ts';
import type { Limit } from '../../../lib/limit.ts';
import { hasFinalizer, NODE_FINALIZER, splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { askPatiently, isServerAway } from '../server-away.ts';
import type { HealthMonitor } from '../health/health-monitor.ts';
import type { KeptImage } from '../images/prepare-image.ts';
import { adopt } from './adopt.ts';
import { applyStep, type ApplyDeps } from './apply-step.ts';
import { findDrift, resourcesKey } from './drift.ts';
import type { ContainerMemory, MemoryStore } from './memory.ts';
import { currentOf, planStep, type Observed, type Step } from './plan.ts';
import type { Predecessors } from './predecessors.ts';
import type { Prepared } from './prepared.ts';
import { keptImage } from './rootfs-key.ts';
import { networkNamesOf } from './sandbox-config.ts';
import { isTransient, withoutTemporaryNames } from './start-failure.ts';
import { buildStatus } from './status.ts';
import { eventsOfChange } from './status-events.ts';
import { statusPatch } from './status-patch.ts';

/** A run from nothing to Running takes four steps; more than this without rest is a loop. */
const MAX_STEPS = 32;

export interface ContainerReconcilerDeps extends ApplyDeps {
  readonly cluster: Pick<Cluster, 'containers'>;
  readonly client: Pick<KindClient<Container>, 'get' | 'mergePatch'>;
  readonly nodeName: string;
  readonly hostIp: string;
  readonly memory: MemoryStore;
  /** Bounds the steps that work on the host at the same time; a stop, which only waits, is not counted. */
  readonly limit: Limit;
  readonly health: HealthMonitor;
  readonly targetKeyOf: (container: Container) => string | undefined;
  readonly prepare: (
    container: Container,
    options: { kept: KeptImage | undefined; signal: AbortSignal },
  ) => Promise<Prepared>;
  readonly predecessors: Pick<Predecessors, 'of'>;
  /** What is kept on the host beside the runtime: projected files, logs, anonymous volumes. */
  readonly cleanUp: (container: Container, signal: AbortSignal) => Promise<void>;
  /** Called before the status is written, whether or not it says Ready. */
  readonly admit: (container: Container, signal: AbortSignal) => Promise<void>;
  /** Seconds from the creation of the object to its first run. */
  readonly observeStart: (seconds: number) => void;
}

/** The server is away: its status can wait, the container cannot. */
const WRITE_AGAIN_MS = 2000;

/** Reconciles `namespace/name`. */
export function createContainerReconciler(deps: ContainerReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    const { namespace = '', name } = splitKey(key);
    const cached = deps.cluster.containers.get(namespace, name);
    if (cached?.spec.nodeName !== deps.nodeName) return {};
    const memory = deps.memory.of(cached.metadata.uid ?? '');
    if (memory.isReleased) return {};
    const container = withNewestStatus(cached, memory);
    // Bound by the user: the scheduler has not put the finalizer on. It does not hold up the start.
    const guarding =
      hasFinalizer(container, NODE_FINALIZER) || container.metadata.deletionTimestamp !== undefined
        ? true
        : addFinalizer(deps, container, signal);
    // Both to their end, whatever becomes of the other: the next reconciliation must not work beside this one's steps.
    const [steps, guard] = await Promise.allSettled([runSteps(deps, container, memory, signal), guarding]);
    if (steps.status === 'rejected') throw steps.reason;
    const outcome = steps.value;
    if (outcome.step.kind === 'release') {
      await release(deps, container, signal);
      return {};
    }
    const isTold = await writeStatus(deps, container, memory, outcome, signal);
    if (guard.status === 'rejected') throw guard.reason;
    const isWritten = isTold && guard.value;
    const { untilMs } = outcome.step.kind === 'rest' ? outcome.step : {};
    if (outcome.error !== undefined) throw outcome.error;
    const waits = [
      ...(untilMs === undefined ? [] : [untilMs - deps.clock.now()]),
      ...(isWritten ? [] : [WRITE_AGAIN_MS]),
    ];
    return waits.length === 0 ? {} : { requeueAfterMs: Math.max(Math.min(...waits), 1) };
  };
}

/** The cache may be older than the agent's own last write, which nobody else makes. */
function withNewestStatus(cached: Container, memory: ContainerMemory): Container {
  const isBehind = Number(cached.metadata.resourceVersion ?? 0) < memory.statusVersion;
  return isBehind && memory.lastStatus ? { ...cached, status: memory.lastStatus } : cached;
}

interface Outcome {
  readonly step: Step;
  readonly observed: Observed;
  /** What stopped the steps before they came to rest. */
  readonly error?: unknown;
  /** The same in words for the user. */
  readonly trouble?: { readonly reason: string; readonly message: string } | undefined;
}

/** What the user reads when a step failed; the steps that make and start the container have words of their own. */
const STEP_FAILED: Partial<Record<Step['kind'], string>> = {
  prepare: 'PrepareFailed',
  stop: 'StopFailed',
  'remove-sandbox': 'RemoveFailed',
  'remove-container': 'RemoveFailed',
};

async function runSteps(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  signal: AbortSignal,
): Promise<Outcome> {
  let prepared: Prepared | undefined;
  // Asked to run again after this, it tries again, whatever it failed from.
  if (container.spec.desiredState === 'Stopped') memory.startFailure = undefined;
  for (let count = 0; count < MAX_STEPS; count += 1) {
    signal.throwIfAborted();
    const observed = await observe(deps, container, memory, prepared);
    const step = planStep(observed);
    if (step.kind === 'rest' || step.kind === 'release') return { step, observed };
    const take = async (): Promise<void> => {
      if (step.kind !== 'prepare') return applyStep(deps, { container, memory, prepared, signal }, step);
      memory.startIntentMs ??= deps.clock.now();
      prepared = await deps.prepare(container, { kept: keptImage(observed, memory), signal });
      if (prepared.image.state === 'Ready') memory.image = prepared.image.image;
    };
    try {
      await (step.kind === 'stop' ? take() : deps.limit(0, signal, take));
    } catch (error) {
      // A cache that is behind, or a runtime that is away, is nothing to tell. An in-place change has told already.
      const isNoNews = isTransient(error) || isConflict(error) || isNotFound(error);
      if (isNoNews && !memory.driftError) throw error;
      const reason = STEP_FAILED[step.kind];
      const trouble = reason === undefined ? undefined : { reason, message: withoutTemporaryNames(messageOf(error)) };
      if (trouble) deps.record(container, 'Warning', trouble.reason, trouble.message);
      const seen = await observe(deps, container, memory, prepared);
      return { step: { kind: 'rest' }, observed: seen, error, trouble };
    }
  }
  throw new Error(`container ${container.metadata.name} did not come to rest within ${MAX_STEPS} steps`);
}

async function observe(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  prepared: Prepared | undefined,
): Promise<Observed> {
  const view = deps.cache.viewOf(container.metadata.uid ?? '');
  const { run, sandbox } = currentOf({ container, ...view });
  const isRunning = run?.state === 'Running';
  if (isRunning && sandbox) await adopt(deps, container, memory, { run, sandbox });
  const { healthCheck: check, isPaused } = memory;
  deps.health.follow(container, isRunning ? { run, check, network: memory.network?.value, isPaused } : undefined);
  return {
    container,
    nowMs: deps.clock.now(),
    sandboxes: view.sandboxes,
    containers: view.containers,
    prepared,
    startFailure: memory.startFailure,
    health: isRunning ? deps.health.stateOf(run.id) : undefined,
    unhealthyStops: memory.unhealthyStops,
    isPaused: isRunning && memory.isPaused,
    targetKey: deps.targetKeyOf(container),
    predecessors: isRunning ? [] : deps.predecessors.of(container),
    drift: isRunning
      ? findDrift({
          container,
          imageConfig: memory.image?.config ?? {},
          network: memory.network?.value,
          appliedResources: memory.appliedResources?.key ?? resourcesKey(container),
          appliedAttachments: memory.appliedAttachments?.keys ?? new Map(),
        })
      : [],
  };
}

/** False when the server did not take it, and it is to be written again. */
async function addFinalizer(
  deps: ContainerReconcilerDeps,
  container: Container,
  signal: AbortSignal,
): Promise<boolean> {
  const { name, namespace, finalizers = [], resourceVersion, uid } = container.metadata;
  const metadata = { finalizers: [...finalizers, NODE_FINALIZER], resourceVersion, uid };
  try {
    await askPatiently(signal, (limited) => deps.client.mergePatch(name, namespace, { metadata }, {}, limited));
  } catch (error) {
    if (isServerAway(error, signal)) return false;
    // The cache is behind: the next reconciliation sees the newer object.
    if (!isConflict(error) && !isNotFound(error)) throw error;
  }
  return true;
}

async function release(deps: ContainerReconcilerDeps, container: Container, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid = '' } = container.metadata;
  deps.health.follow(container, undefined);
  await deps.cleanUp(container, signal);
  try {
    await letGo(deps, container, signal);
  } catch (error) {
    if (!isConflict(error)) throw error;
    // The cache is behind, or shows one that is gone.
    const current = await deps.client.get(name, namespace, signal);
    if (current?.metadata.uid === uid) await letGo(deps, current, signal);
  }
  deps.memory.of(uid).isReleased = true;
}

async function letGo({ client }: ContainerReconcilerDeps, container: Container, signal: AbortSignal): Promise<void> {
  if (!hasFinalizer(container, NODE_FINALIZER)) return;
  const { name, namespace, uid, resourceVersion, finalizers = [] } = container.metadata;
  const rest = finalizers.filter((finalizer) => finalizer !== NODE_FINALIZER);
  try {
    await client.mergePatch(name, namespace, { metadata: { uid, resourceVersion, finalizers: rest } }, {}, signal);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** False when the server did not take it, and it is to be written again. */
async function writeStatus(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  { observed, trouble }: Outcome,
  signal: AbortSignal,
): Promise<boolean> {
  const status = buildStatus({
    ...observed,
    nodeName: deps.nodeName,
    hostIp: deps.hostIp,
    network: networkNamesOf(container).length > 0 ? memory.network?.value : undefined,
    healthCheck: memory.healthCheck,
    driftError: memory.driftError,
    trouble,
  });
  if (container.metadata.deletionTimestamp !== undefined && !observed.sandboxes.length) return true;
  const patch = statusPatch(container.status, status);
  // Also when there is nothing to write: an admission of which the cluster never heard is taken back.
  await deps.admit({ ...container, status }, signal);
  if (Object.keys(patch).length === 0) return true;
  const { name, namespace, uid } = container.metadata;
  try {
    const written = await askPatiently(signal, (limited) =>
      deps.client.mergePatch(name, namespace, { metadata: { uid }, status: patch }, { subresource: 'status' }, limited),
    );
    memory.statusVersion = Number(written.metadata.resourceVersion ?? 0);
    memory.lastStatus = written.status;
    for (const { type, reason, message } of eventsOfChange(container.status, status, observed))
      deps.record(container, type, reason, message);
  } catch (error) {
    if (isServerAway(error, signal)) return false;
    // Deleted meanwhile, or deleted and created again under the same name: not ours to write.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
  if (status.phase === 'Running' && container.status?.phase !== 'Running' && (status.restartCount ?? 0) === 0) {
    const createdAt = Date.parse(container.metadata.creationTimestamp ?? '');
    if (!container.status?.startedAt && createdAt > 0) deps.observeStart((deps.clock.now() - createdAt) / 1000);
  }
  return true;
}
