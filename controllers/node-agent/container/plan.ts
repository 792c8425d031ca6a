// The decision of the agent for one Container: what is observed in, the one next step out. Pure.
import type { Container } from '../../../crds/container.ts';
import type { HealthState } from '../health/health-state.ts';
import type { ContainerState, SandboxState } from '../runtime/node-runtime.ts';
import { ANNOTATIONS, numberAnnotation } from './annotations.ts';
import { graceSecondsOf } from './grace-seconds.ts';
import { firstMissing, type Prepared } from './prepared.ts';
import { decideRestart, type RestartDecision } from './restart.ts';
import { specHash } from './spec-hash.ts';
import { failureOf } from './start-failure.ts';

export interface Observed {
  readonly container: Container;
  readonly nowMs: number;
  /** Newest attempt first. */
  readonly sandboxes: readonly SandboxState[];
  /** Newest attempt first. */
  readonly containers: readonly ContainerState[];
  /** Absent until a step asked for it. */
  readonly prepared?: Prepared | undefined;
  /** The last failed try to make or start it, if the spec has not changed since. */
  readonly startFailure?: StartFailure | undefined;
  readonly health?: HealthState | undefined;
  /** Ids of containers that the agent ended because they were unhealthy. */
  readonly unhealthyStops: ReadonlySet<string>;
  readonly isPaused: boolean;
  /** Whose namespaces it should share now, see targetKeyOf(); undefined = nothing to join yet. */
  readonly targetKey?: string | undefined;
  /** What must be off the host before it starts, see createPredecessors(). */
  readonly predecessors: readonly SandboxState[];
  /** Differences that are mended on the running container, found by comparing with what it has. */
  readonly drift: readonly DriftStep[];
}

export interface StartFailure {
  readonly reason: string;
  readonly message: string;
  /** In a row. */
  readonly failures: number;
  readonly firstAtMs: number;
  readonly atMs: number;
  readonly retryAtMs: number;
  readonly exitCode: number;
  readonly specHash: string;
  readonly restartedAt: string | undefined;
}

export type DriftStep =
  | { readonly kind: 'update-resources' }
  | { readonly kind: 'update-ports' }
  | { readonly kind: 'attach-network'; readonly network: string }
  | { readonly kind: 'detach-network'; readonly network: string };

/** What a new run carries on from the one before. */
export interface RunCounts {
  readonly restartCount: number;
  readonly shortRuns: number;
}

export type Step =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'run-sandbox'; readonly attempt: number }
  | ({
      readonly kind: 'create';
      readonly sandboxId: string;
      readonly attempt: number;
      /** The run that has ended; one that does not stay beside it is removed first. */
      readonly previous?: { readonly id: string; readonly stays: boolean };
    } & RunCounts)
  | { readonly kind: 'start'; readonly containerId: string }
  | { readonly kind: 'stop'; readonly containerId: string; readonly why: string; readonly unhealthy?: boolean }
  | { readonly kind: 'pause' | 'unpause'; readonly containerId: string }
  | { readonly kind: 'remove-sandbox'; readonly sandboxId: string; readonly why: string }
  | { readonly kind: 'remove-container'; readonly containerId: string }
  | DriftStep
  /** Nothing to do until something changes, or until the given time. */
  | { readonly kind: 'rest'; readonly untilMs?: number | undefined }
  /** Everything of it is off the host: the finalizer can go. */
  | { readonly kind: 'release' };

/** The containers and the sandbox that belong to the spec as it is now. */
export function currentOf(observed: Pick<Observed, 'container' | 'sandboxes' | 'containers'>): {
  sandbox: SandboxState | undefined;
  run: ContainerState | undefined;
} {
  const hash = specHash(observed.container.spec);
  const sandbox = observed.sandboxes.find((one) => one.annotations[ANNOTATIONS.specHash] === hash);
  const run = observed.containers.find(({ sandboxId }) => sandbox !== undefined && sandboxId === sandbox.id);
  return { sandbox, run };
}

/** The one next step. */
export function planStep(observed: Observed): Step {
  const { container } = observed;
  if (container.metadata.deletionTimestamp !== undefined) return planDeletion(observed);
  const { sandbox, run } = currentOf(observed);
  const superseded = planSuperseded(observed, sandbox, run);
  if (superseded) return superseded;
  const wanted = container.spec.desiredState ?? 'Running';
  if (run?.state === 'Running') return planRunning(observed, run);
  if (wanted === 'Stopped') return { kind: 'rest' };
  if (run?.state === 'Created') return wanted === 'Created' ? { kind: 'rest' } : planStart(observed, run);
  if (run) return planExited(observed, run);
  return planLost(observed) ?? planNewRun(observed, sandbox, { restartCount: 0, shortRuns: 0 });
}

function planDeletion({ container, sandboxes, containers, isPaused }: Observed): Step {
  const running = containers.find(({ state }) => state === 'Running');
  // What gets no time to end by itself ends with its sandbox: one call of the runtime for both.
  const isKilled = graceSecondsOf(container) <= 0 && !isPaused;
  if (running && !isKilled) return { kind: 'stop', containerId: running.id, why: 'the Container is being deleted' };
  const sandbox = sandboxes[0];
  if (sandbox) return { kind: 'remove-sandbox', sandboxId: sandbox.id, why: 'the Container is being deleted' };
  return { kind: 'release' };
}

/** What an older spec, a dead sandbox or an older run left behind goes first. */
function planSuperseded(
  observed: Observed,
  sandbox: SandboxState | undefined,
  run: ContainerState | undefined,
): Step | undefined {
  for (const old of observed.sandboxes) {
    if (old.id === sandbox?.id) continue;
    const running = observed.containers.find(({ sandboxId, state }) => sandboxId === old.id && state === 'Running');
    if (running) return { kind: 'stop', containerId: running.id, why: 'its spec has changed' };
    return { kind: 'remove-sandbox', sandboxId: old.id, why: 'its spec has changed' };
  }
  for (const old of observed.containers) {
    if (old.id === run?.id) continue;
    if (old.state === 'Running') return { kind: 'stop', containerId: old.id, why: 'a newer run took its place' };
    if (!isAwaited(observed, run)) return { kind: 'remove-container', containerId: old.id };
  }
  return undefined;
}

/** On its way to be told of as the present run: what is left of the one before it can go after that, where nobody waits. */
const isAwaited = ({ container }: Observed, run: ContainerState | undefined): boolean =>
  (run?.state === 'Created' || run?.state === 'Running') && container.status?.containerID !== run.id;

function planRunning(observed: Observed, run: ContainerState): Step {
  const { spec } = observed.container;
  const wanted = spec.desiredState ?? 'Running';
  if (wanted === 'Stopped' || wanted === 'Created') {
    // A frozen process cannot handle its stop signal.
    if (observed.isPaused) return { kind: 'unpause', containerId: run.id };
    return { kind: 'stop', containerId: run.id, why: `desiredState is ${wanted}` };
  }
  if (isRestartAsked(observed.container, run)) {
    if (observed.isPaused) return { kind: 'unpause', containerId: run.id };
    return { kind: 'stop', containerId: run.id, why: 'restartedAt has changed' };
  }
  if (wanted === 'Paused' && !observed.isPaused) return { kind: 'pause', containerId: run.id };
  if (wanted === 'Running' && observed.isPaused) return { kind: 'unpause', containerId: run.id };
  if (
    observed.health?.status === 'Unhealthy' &&
    (spec.onUnhealthy ?? 'Restart') === 'Restart' &&
    wanted === 'Running'
  ) {
    return { kind: 'stop', containerId: run.id, why: 'it is unhealthy', unhealthy: true };
  }
  const joined = currentOf(observed).sandbox?.annotations[ANNOTATIONS.target];
  if (joined !== undefined && observed.targetKey !== undefined && observed.targetKey !== joined) {
    return { kind: 'stop', containerId: run.id, why: 'the container whose namespaces it shares was replaced' };
  }
  return observed.drift[0] ?? { kind: 'rest' };
}

/** An ended run: restart by policy, by restartedAt, or because it had been stopped on purpose and is wanted again. */
function planExited(observed: Observed, run: ContainerState): Step {
  const { sandbox } = currentOf(observed);
  const decision = decideExited(observed, run);
  if (decision.kind === 'final') return { kind: 'rest' };
  if (decision.atMs > observed.nowMs) return { kind: 'rest', untilMs: decision.atMs };
  return planNewRun(observed, sandbox, decision, run);
}

/**
 * Whether the ended run stays until the next one runs, whose start then does not wait for its removal. If that start
 * fails, the same is decided of it again, which holds for its policy alone. A layer that was too big goes with its run.
 */
const staysBeside = (observed: Observed, run: ContainerState): boolean =>
  run.reason !== 'Evicted' && !isRestartAsked(observed.container, run) && !isWantedAgain(observed.container, run);

/** What is decided about an ended run; also what status says of it. */
export function decideExited(observed: Observed, run: ContainerState): RestartDecision {
  const { container } = observed;
  if (isRestartAsked(container, run) || isWantedAgain(container, run)) {
    return { kind: 'restart', atMs: observed.nowMs, restartCount: 0, shortRuns: 0 };
  }
  return decideRestart(
    { restartPolicy: container.spec.restartPolicy ?? 'Always', maxRetries: container.spec.maxRetries },
    {
      exitCode: run.exitCode,
      startedAtMs: run.startedAtMs,
      finishedAtMs: run.finishedAtMs,
      restartCount: numberAnnotation(run.annotations, ANNOTATIONS.restartCount),
      shortRuns: numberAnnotation(run.annotations, ANNOTATIONS.shortRuns),
      wasUnhealthy: observed.unhealthyStops.has(run.id),
    },
  );
}

const isRestartAsked = ({ spec }: Container, run: ContainerState): boolean =>
  spec.restartedAt !== undefined && spec.restartedAt !== (run.annotations[ANNOTATIONS.restartedAt] ?? '');

/** It had been stopped as asked, and the spec has changed since: asked to run again, whatever its policy. */
function isWantedAgain({ status, metadata }: Container, run: ContainerState): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return (
    ready?.reason === 'Stopped' && numberAnnotation(run.annotations, ANNOTATIONS.generation) !== metadata.generation
  );
}

/**
 * Nothing of it is on the host although its status tells of an end for good (the node was rebooted): that end stands,
 * unless the spec has been changed or a restart asked for since.
 */
function planLost({ container }: Observed): Step | undefined {
  const { status, spec } = container;
  const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  if (!isOver || status.specHash !== specHash(spec)) return undefined;
  if ((status.observedRestartedAt ?? '') !== (spec.restartedAt ?? '')) return undefined;
  const reason = status.conditions?.find(({ type }) => type === 'Ready')?.reason;
  if (reason === 'Stopped') return undefined;
  const failed = status.phase === 'Failed';
  const policy = spec.restartPolicy ?? 'Always';
  if (policy === 'Always' || (policy === 'OnFailure' && failed)) return undefined;
  return { kind: 'rest' };
}

function planStart(observed: Observed, run: ContainerState): Step {
  return waitForPredecessors(observed) ?? waitAfterFailure(observed) ?? { kind: 'start', containerId: run.id };
}

function planNewRun(
  observed: Observed,
  sandbox: SandboxState | undefined,
  counts: RunCounts,
  previous?: ContainerState,
): Step {
  const waiting = waitForPredecessors(observed) ?? waitAfterFailure(observed);
  if (waiting) return waiting;
  if (!observed.prepared) return { kind: 'prepare' };
  const missing = firstMissing(observed.prepared);
  if (missing) return { kind: 'rest', untilMs: missing.retryAtMs };
  if (sandbox && !sandbox.isReady) {
    return { kind: 'remove-sandbox', sandboxId: sandbox.id, why: 'its sandbox is dead' };
  }
  const { network } = observed.prepared;
  const target = (network.state === 'Ready' ? network.targetKey : undefined) ?? '';
  if (sandbox && (sandbox.annotations[ANNOTATIONS.target] ?? '') !== target) {
    return {
      kind: 'remove-sandbox',
      sandboxId: sandbox.id,
      why: 'the container whose namespaces it shares was replaced',
    };
  }
  if (sandbox && isSuspect(sandbox, observed)) {
    return { kind: 'remove-sandbox', sandboxId: sandbox.id, why: 'nothing can be created in its sandbox' };
  }
  const attempt = nextAttempt(observed);
  if (!sandbox) return { kind: 'run-sandbox', attempt };
  return {
    kind: 'create',
    sandboxId: sandbox.id,
    attempt,
    restartCount: counts.restartCount,
    shortRuns: counts.shortRuns,
    ...(previous ? { previous: { id: previous.id, stays: staysBeside(observed, previous) } } : {}),
  };
}

const PREDECESSOR_LOOK_MS = 100;

/** The orphans' controller takes them off; a slot has one holder at a time. */
function waitForPredecessors({ predecessors, nowMs }: Observed): Step | undefined {
  return predecessors.length > 0 ? { kind: 'rest', untilMs: nowMs + PREDECESSOR_LOOK_MS } : undefined;
}

function waitAfterFailure({ startFailure, nowMs, container }: Observed): Step | undefined {
  const failure = failureOf(container, startFailure);
  if (!failure) return undefined;
  if ((container.spec.restartPolicy ?? 'Always') === 'Never') return { kind: 'rest' };
  return failure.retryAtMs > nowMs ? { kind: 'rest', untilMs: failure.retryAtMs } : undefined;
}

const FAILURES_BEFORE_NEW_SANDBOX = 3;

/** One try with a sandbox of its own per row of failures: the old one may have lost a file or a namespace. */
const isSuspect = (sandbox: SandboxState, { container, startFailure }: Observed): boolean => {
  const failure = failureOf(container, startFailure);
  return (
    failure !== undefined && failure.failures >= FAILURES_BEFORE_NEW_SANDBOX && sandbox.createdAtMs < failure.firstAtMs
  );
};

// Attempts only ever rise, also across replacements: each has its own log file in the same folder.
function nextAttempt({ sandboxes, containers }: Observed): number {
  const used = [...containers.map(({ attempt }) => attempt + 1), ...sandboxes.map(({ attempt }) => attempt)];
  return Math.max(0, ...used);
}
