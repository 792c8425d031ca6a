// Makes one Container of this node true: look, plan, take a step, look again, until there is nothing to do; then say
// in its status how it stands, in one write.
import type { KindClient } from '../../../client/client.ts';
import type { Container } from '../../../crds/container.ts';
import { isConflict, isNotFound } from '../../../lib/errors.ts';
import { findCondition } from '../../runtime/conditions.ts';
import { hasFinalizer, NODE_FINALIZER, splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import type { HealthMonitor } from '../health/health-monitor.ts';
import { resolveHealthCheck } from '../health/health-check.ts';
import type { KeptImage } from '../images/prepare-image.ts';
import { ANNOTATIONS } from './annotations.ts';
import { applyStep, type ApplyDeps } from './apply-step.ts';
import { findDrift, resourcesKey } from './drift.ts';
import type { ContainerMemory, MemoryStore } from './memory.ts';
import { currentOf, planStep, type Observed, type Step } from './plan.ts';
import type { Prepared } from './prepared.ts';
import { keptImage } from './rootfs-key.ts';
import { networkNamesOf } from './sandbox-config.ts';
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
  readonly health: HealthMonitor;
  readonly targetKeyOf: (container: Container) => string | undefined;
  readonly prepare: (
    container: Container,
    options: { kept: KeptImage | undefined; signal: AbortSignal },
  ) => Promise<Prepared>;
  /** What is kept on the host beside the runtime: projected files, logs, anonymous volumes. */
  readonly cleanUp: (container: Container, signal: AbortSignal) => Promise<void>;
  /** Seconds from the creation of the object to its first run. */
  readonly observeStart: (seconds: number) => void;
}

/** Reconciles `namespace/name`. */
export function createContainerReconciler(deps: ContainerReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    const { namespace = '', name } = splitKey(key);
    const cached = deps.cluster.containers.get(namespace, name);
    if (cached?.spec.nodeName !== deps.nodeName) return {};
    const memory = deps.memory.of(cached.metadata.uid ?? '');
    const container = withNewestStatus(cached, memory);
    // Bound by the user: the scheduler has not put the finalizer on. It does not hold up the start.
    const guarded =
      hasFinalizer(container, NODE_FINALIZER) || container.metadata.deletionTimestamp !== undefined
        ? undefined
        : addFinalizer(deps, container, signal);
    const [outcome] = await Promise.all([runSteps(deps, container, memory, signal), guarded]);
    if (outcome.step.kind === 'release') {
      await release(deps, container, signal);
      return {};
    }
    await writeStatus(deps, container, memory, outcome, signal);
    const { untilMs } = outcome.step.kind === 'rest' ? outcome.step : {};
    if (outcome.error !== undefined) throw outcome.error;
    return untilMs === undefined ? {} : { requeueAfterMs: Math.max(untilMs - deps.clock.now(), 1) };
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
}

async function runSteps(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  signal: AbortSignal,
): Promise<Outcome> {
  let prepared: Prepared | undefined;
  for (let count = 0; count < MAX_STEPS; count += 1) {
    signal.throwIfAborted();
    const observed = await observe(deps, container, memory, prepared);
    const step = planStep(observed);
    if (step.kind === 'rest' || step.kind === 'release') return { step, observed };
    if (step.kind === 'prepare') {
      memory.startIntentMs ??= deps.clock.now();
      prepared = await deps.prepare(container, { kept: keptImage(observed), signal });
      if (prepared.image.state === 'Ready') memory.image = prepared.image.image;
      continue;
    }
    try {
      await applyStep(deps, { container, memory, prepared }, step);
    } catch (error) {
      // An in-place change that failed shows in the status; everything else is simply tried again.
      if (memory.driftError)
        return { step: { kind: 'rest' }, observed: await observe(deps, container, memory, prepared), error };
      throw error;
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
  if (isRunning && sandbox) await adopt(deps, container, memory, { run, sandboxId: sandbox.id });
  deps.health.follow(container, isRunning ? run : undefined, memory.healthCheck, memory.network?.value);
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
    drift: isRunning
      ? findDrift({
          container,
          imageConfig: memory.image?.config ?? {},
          network: memory.network?.value,
          appliedResources: memory.appliedResources?.key ?? resourcesKey(container),
        })
      : [],
  };
}

/** Learns what a running container has, after a restart of the agent or a start. */
async function adopt(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  { run, sandboxId }: { run: { id: string; annotations: Readonly<Record<string, string>> }; sandboxId: string },
): Promise<void> {
  if (memory.network?.sandboxId !== sandboxId) {
    memory.network = { sandboxId, value: await deps.runtime.sandboxNetwork(sandboxId) };
  }
  if (!memory.image) {
    const image = run.annotations[ANNOTATIONS.image];
    memory.image = image === undefined ? undefined : await deps.runtime.inspectImage(image);
  }
  memory.healthCheck = resolveHealthCheck(
    container.spec.healthCheck,
    memory.image?.config.config?.Healthcheck ?? undefined,
  );
  if (memory.appliedResources?.containerId === run.id) return;
  // First sight of it in this process: whether it is paused, and its resources, are as the last status says.
  memory.isPaused = findCondition(container, 'Ready')?.reason === 'Paused' && container.status?.containerID === run.id;
  const isUpToDate = container.status?.observedGeneration === container.metadata.generation;
  memory.appliedResources = { containerId: run.id, key: isUpToDate ? resourcesKey(container) : '' };
}

async function addFinalizer(deps: ContainerReconcilerDeps, container: Container, signal: AbortSignal): Promise<void> {
  const { name, namespace, finalizers = [], resourceVersion, uid } = container.metadata;
  try {
    await deps.client.mergePatch(
      name,
      namespace,
      { metadata: { finalizers: [...finalizers, NODE_FINALIZER], resourceVersion, uid } },
      {},
      signal,
    );
  } catch (error) {
    // The cache is behind: the next reconciliation sees the newer object.
    if (!isConflict(error) && !isNotFound(error)) throw error;
  }
}

async function release(deps: ContainerReconcilerDeps, container: Container, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid = '' } = container.metadata;
  deps.health.follow(container, undefined, undefined, undefined);
  await deps.cleanUp(container, signal);
  deps.memory.drop(uid);
  const current = hasFinalizer(container, NODE_FINALIZER) ? await deps.client.get(name, namespace, signal) : undefined;
  if (current?.metadata.uid !== uid || !current || !hasFinalizer(current, NODE_FINALIZER)) return;
  const finalizers = (current.metadata.finalizers ?? []).filter((finalizer) => finalizer !== NODE_FINALIZER);
  try {
    await deps.client.mergePatch(
      name,
      namespace,
      { metadata: { finalizers, resourceVersion: current.metadata.resourceVersion } },
      {},
      signal,
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

async function writeStatus(
  deps: ContainerReconcilerDeps,
  container: Container,
  memory: ContainerMemory,
  { observed }: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const status = buildStatus({
    ...observed,
    nodeName: deps.nodeName,
    hostIp: deps.hostIp,
    network: networkNamesOf(container).length > 0 ? memory.network?.value : undefined,
    healthCheck: memory.healthCheck,
    driftError: memory.driftError,
  });
  if (container.metadata.deletionTimestamp !== undefined && !observed.sandboxes.length) return;
  const patch = statusPatch(container.status, status);
  if (Object.keys(patch).length === 0) return;
  const { name, namespace, uid } = container.metadata;
  try {
    const written = await deps.client.mergePatch(
      name,
      namespace,
      { metadata: { uid }, status: patch },
      { subresource: 'status' },
      signal,
    );
    memory.statusVersion = Number(written.metadata.resourceVersion ?? 0);
    memory.lastStatus = written.status;
    for (const { type, reason, message } of eventsOfChange(container.status, status, observed))
      deps.record(container, type, reason, message);
  } catch (error) {
    // Deleted meanwhile, or deleted and created again under the same name: not ours to write.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
  if (status.phase === 'Running' && container.status?.phase !== 'Running' && (status.restartCount ?? 0) === 0) {
    const createdAt = Date.parse(container.metadata.creationTimestamp ?? '');
    if (!container.status?.startedAt && createdAt > 0) deps.observeStart((deps.clock.now() - createdAt) / 1000);
  }
}
