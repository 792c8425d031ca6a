// What the agent writes into a Container's status, from the same observation the plan is made from. Pure.
import type { ContainerPhase, ContainerStatus } from '../../../crds/container.ts';
import { rfc3339 } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { ResolvedHealthCheck } from '../health/health-check.ts';
import type { ContainerState, SandboxNetwork } from '../runtime/node-runtime.ts';
import { setConditions, type NewCondition } from '../../runtime/conditions.ts';
import { ANNOTATIONS, numberAnnotation } from './annotations.ts';
import { carriedTermination, exitReason } from './last-termination.ts';
import { currentOf, decideExited, type Observed } from './plan.ts';
import { firstMissing, type Need } from './prepared.ts';
import { specHash } from './spec-hash.ts';
import { failureOf } from './start-failure.ts';

export interface StatusInput extends Observed {
  readonly nodeName: string;
  readonly hostIp: string;
  readonly network?: SandboxNetwork | undefined;
  readonly healthCheck?: ResolvedHealthCheck | undefined;
  /** A running container's drift that cannot be mended now, e.g. a port that is taken. */
  readonly driftError?: { readonly reason: string; readonly message: string } | undefined;
  /** A step that failed and is tried again. */
  readonly trouble?: { readonly reason: string; readonly message: string } | undefined;
}

/** Phase and the reason for the Ready condition. */
interface Verdict {
  readonly phase: ContainerPhase;
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
  readonly nextRestartAtMs?: number;
}

/** The whole status; fields that are left out are absent in it. */
export function buildStatus(input: StatusInput): ContainerStatus {
  const { container, nodeName } = input;
  const { run, sandbox } = currentOf(input);
  const judged = judge(input, run);
  // Elsewhere the phase says what is; that a step failed is told by its Event.
  const verdict = input.trouble && judged.phase === 'Pending' ? { ...judged, ...input.trouble } : judged;
  const generation = container.metadata.generation;
  const old = container.status;
  const image = input.prepared?.image;
  const conditions = setConditions(old?.conditions, conditionsOf(input, run, verdict), {
    now: input.nowMs,
    generation,
  });
  return {
    phase: verdict.phase,
    reason: verdict.reason,
    message: verdict.message,
    nodeName,
    hostIP: input.hostIp,
    ...(run ? { containerID: run.id } : old?.containerID && !sandbox ? { containerID: old.containerID } : {}),
    ...(sandbox ? { sandboxID: sandbox.id } : {}),
    ...imageFields(run, image, old),
    specHash: specHash(container.spec),
    ...(container.spec.restartedAt === undefined ? {} : { observedRestartedAt: container.spec.restartedAt }),
    ...networkFields(input, sandbox !== undefined),
    ...mountFields(run, old),
    ...runFields(input, run, verdict),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions,
  };
}

function judge(input: StatusInput, run: ContainerState | undefined): Verdict {
  const wanted = input.container.spec.desiredState ?? 'Running';
  if (run?.state === 'Running') return judgeRunning(input);
  if (run?.state === 'Exited' || run?.state === 'Unknown') return judgeExited(input, run, wanted);
  const failure = failureOf(input.container, input.startFailure);
  if (failure) {
    const { reason, message, retryAtMs } = failure;
    if ((input.container.spec.restartPolicy ?? 'Always') === 'Never')
      return { phase: 'Failed', ready: false, reason, message };
    return { phase: 'Pending', ready: false, reason, message: `${message}; next try at ${rfc3339(retryAtMs)}` };
  }
  if (run?.state === 'Created' && wanted === 'Created') {
    return { phase: 'Created', ready: false, reason: 'Created', message: 'created, not started, as desiredState says' };
  }
  const old = input.container.status;
  if (!run && isOver(old?.phase) && old?.specHash === specHash(input.container.spec) && !input.prepared) {
    const ready = old.conditions?.find(({ type }) => type === 'Ready');
    const stopped = wanted === 'Stopped';
    return {
      phase: old.phase ?? 'Failed',
      ready: false,
      reason: stopped ? 'Stopped' : (ready?.reason ?? old.reason ?? 'Error'),
      message: stopped ? 'stopped, as desiredState says' : (ready?.message ?? ''),
    };
  }
  if (wanted === 'Stopped') {
    return { phase: 'Created', ready: false, reason: 'Stopped', message: 'not started, as desiredState says' };
  }
  if (input.predecessors.length > 0) {
    const message = `waits for sandbox ${input.predecessors.map(({ id }) => id.slice(0, 12)).join(', ')} of an earlier Container to end`;
    return { phase: 'Pending', ready: false, reason: 'PredecessorRunning', message };
  }
  const missing = input.prepared ? firstMissing(input.prepared) : undefined;
  if (missing) return { phase: 'Pending', ready: false, reason: missing.reason, message: missing.message };
  return { phase: 'Pending', ready: false, reason: 'ContainerCreating', message: 'the container is being made' };
}

const isOver = (phase: ContainerPhase | undefined): boolean => phase === 'Succeeded' || phase === 'Failed';

function judgeRunning(input: StatusInput): Verdict {
  if (input.isPaused)
    return { phase: 'Paused', ready: false, reason: 'Paused', message: 'paused, as desiredState says' };
  if (input.driftError) return { phase: 'Running', ready: false, ...input.driftError };
  if (!input.healthCheck) return { phase: 'Running', ready: true, reason: 'Running', message: 'running' };
  const { status, failingStreak, lastFailure } = input.health ?? { status: 'Starting', failingStreak: 0 };
  if (status === 'Healthy') return { phase: 'Running', ready: true, reason: 'Healthy', message: 'running and healthy' };
  const detail = lastFailure ? `: ${lastFailure}` : '';
  if (status === 'Starting') {
    return {
      phase: 'Running',
      ready: false,
      reason: 'Starting',
      message: `waiting for the first healthy check${detail}`,
    };
  }
  return {
    phase: 'Running',
    ready: false,
    reason: 'Unhealthy',
    message: `${failingStreak} health checks in a row failed${detail}`,
  };
}

function judgeExited(input: StatusInput, run: ContainerState, wanted: string): Verdict {
  const failed = run.exitCode !== 0;
  const phase = failed ? 'Failed' : 'Succeeded';
  if (wanted === 'Stopped' || wanted === 'Created') {
    return {
      phase,
      ready: false,
      reason: 'Stopped',
      message: `stopped with exit code ${run.exitCode}, as desiredState says`,
    };
  }
  const reason = exitReason(run, input.unhealthyStops.has(run.id));
  const ended = describeEnd(run, reason);
  const decision = decideExited(input, run);
  if (decision.kind === 'final') return { phase, ready: false, reason, message: ended };
  const missing = input.prepared ? firstMissing(input.prepared) : undefined;
  if (missing) return { phase: 'Pending', ready: false, reason: missing.reason, message: missing.message };
  const failure = failureOf(input.container, input.startFailure);
  if (failure) {
    const { reason: why, message, retryAtMs } = failure;
    return { phase: 'Pending', ready: false, reason: why, message, nextRestartAtMs: retryAtMs };
  }
  return {
    phase: 'Pending',
    ready: false,
    reason: 'BackOff',
    message: `${ended} (${reason}); restart ${decision.restartCount} at ${rfc3339(decision.atMs)}`,
    nextRestartAtMs: decision.atMs,
  };
}

/** How a run ended, with what the runtime has to say about it. */
export function describeEnd(run: ContainerState, reason: string): string {
  const cause = reason === 'OOMKilled' ? 'killed for using more memory than its limit, ' : '';
  return `${cause}exited with code ${run.exitCode}${run.message === '' ? '' : `: ${run.message}`}`;
}

function conditionsOf(input: StatusInput, run: ContainerState | undefined, verdict: Verdict): NewCondition[] {
  const isMade = run !== undefined && (run.state === 'Running' || run.state === 'Created') && !input.prepared;
  const conditions: NewCondition[] = [
    { type: 'Scheduled', status: 'True', reason: 'Bound', message: `bound to node ${input.nodeName}` },
  ];
  const add = (type: string, need: Need<object> | undefined, ready: string): void => {
    if (need?.state === 'Waiting')
      conditions.push({ type, status: 'False', reason: need.reason, message: need.message });
    else if (need || isMade) conditions.push({ type, status: 'True', reason: 'Ready', message: ready });
  };
  add('ImageReady', input.prepared?.image, 'the image is on the node');
  add('VolumesReady', input.prepared?.volumes, 'everything it mounts is there');
  add('NetworkReady', input.prepared?.network, 'its networks are on the node');
  conditions.push({
    type: 'Ready',
    status: verdict.ready ? 'True' : 'False',
    reason: verdict.reason,
    message: verdict.message,
  });
  return conditions;
}

function imageFields(
  run: ContainerState | undefined,
  image: Need<{ image: { digest: string }; reference: string }> | undefined,
  old: ContainerStatus | undefined,
): Pick<ContainerStatus, 'image' | 'imageDigest'> {
  const reference = run?.annotations[ANNOTATIONS.image] ?? (image?.state === 'Ready' ? image.reference : old?.image);
  const digest =
    run?.annotations[ANNOTATIONS.imageDigest] ?? (image?.state === 'Ready' ? image.image.digest : old?.imageDigest);
  return { ...(reference ? { image: reference } : {}), ...(digest ? { imageDigest: digest } : {}) };
}

function networkFields(input: StatusInput, hasSandbox: boolean): Pick<ContainerStatus, 'networks' | 'ports'> {
  if (!input.network || !hasSandbox) return {};
  const prefix = `${input.container.metadata.namespace ?? ''}/`;
  return {
    networks: input.network.interfaces.map((one) => ({
      name: one.network.startsWith(prefix) ? one.network.slice(prefix.length) : one.network,
      ...(one.ipv4Address ? { ipv4Address: one.ipv4Address } : {}),
      ...(one.macAddress ? { macAddress: one.macAddress } : {}),
      ...(one.gateway ? { gateway: one.gateway } : {}),
      ...(one.ipv6 ? { ipv6Address: one.ipv6.address, ipv6Gateway: one.ipv6.gateway } : {}),
    })),
    ports: input.network.ports.map((port) => ({
      containerPort: port.containerPort,
      protocol: port.protocol,
      hostPort: port.hostPort,
      ...(port.hostIp ? { hostIP: port.hostIp } : {}),
    })),
  };
}

function mountFields(
  run: ContainerState | undefined,
  old: ContainerStatus | undefined,
): Pick<ContainerStatus, 'mounts'> {
  const text = run?.annotations[ANNOTATIONS.mounts];
  if (text === undefined) return old?.mounts ? { mounts: old.mounts } : {};
  try {
    return { mounts: JSON.parse(text) as NonNullable<ContainerStatus['mounts']> };
  } catch (error) {
    throw new Error(`annotation ${ANNOTATIONS.mounts} is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

function runFields(input: StatusInput, run: ContainerState | undefined, verdict: Verdict): Partial<ContainerStatus> {
  const old = input.container.status;
  if (!run) return keptRunFields(input, old);
  const hasEnded = run.state === 'Exited' || run.state === 'Unknown';
  return {
    restartCount: numberAnnotation(run.annotations, ANNOTATIONS.restartCount),
    ...(run.startedAtMs > 0 ? { startedAt: rfc3339(run.startedAtMs) } : {}),
    ...(hasEnded ? { finishedAt: rfc3339(run.finishedAtMs || input.nowMs), exitCode: run.exitCode } : {}),
    ...(verdict.nextRestartAtMs === undefined ? {} : { nextRestartAt: rfc3339(verdict.nextRestartAtMs) }),
    ...lastTermination(input, run, old),
    ...(run.state === 'Running' && input.healthCheck
      ? {
          health: {
            status: input.health?.status ?? 'Starting',
            failingStreak: input.health?.failingStreak ?? 0,
            ...(input.health?.lastFailure ? { output: input.health.lastFailure } : {}),
          },
        }
      : {}),
  };
}

/** How the run before this one ended: carried over from the status that told of it. */
function lastTermination(
  input: StatusInput,
  run: ContainerState,
  old: ContainerStatus | undefined,
): Pick<ContainerStatus, 'lastTermination'> {
  const carried = carriedTermination(run);
  if (carried) return { lastTermination: carried };
  const previousId = old?.containerID;
  if (!old || previousId === undefined || previousId === run.id || old.exitCode === undefined) {
    return old?.lastTermination ? { lastTermination: old.lastTermination } : {};
  }
  const unhealthy = input.unhealthyStops.has(previousId);
  return {
    lastTermination: {
      containerID: old.containerID,
      exitCode: old.exitCode,
      reason: old.exitCode === 0 && !unhealthy ? 'Completed' : endWord(old, unhealthy),
      ...(old.startedAt ? { startedAt: old.startedAt } : {}),
      ...(old.finishedAt ? { finishedAt: old.finishedAt } : {}),
    },
  };
}

function endWord(old: ContainerStatus, unhealthy: boolean): string {
  if (unhealthy) return 'Unhealthy';
  if (old.reason === 'Evicted' || old.message?.includes('(Evicted)')) return 'Evicted';
  return old.reason === 'OOMKilled' || old.message?.includes('(OOMKilled)') ? 'OOMKilled' : 'Error';
}

function keptRunFields(input: StatusInput, old: ContainerStatus | undefined): Partial<ContainerStatus> {
  const failure = failureOf(input.container, input.startFailure);
  if (failure && (input.container.spec.restartPolicy ?? 'Always') === 'Never') {
    return { exitCode: failure.exitCode, finishedAt: rfc3339(failure.atMs), restartCount: 0 };
  }
  if (!old || old.specHash !== specHash(input.container.spec)) return { restartCount: old?.restartCount ?? 0 };
  return {
    restartCount: old.restartCount ?? 0,
    ...(old.startedAt ? { startedAt: old.startedAt } : {}),
    ...(old.finishedAt ? { finishedAt: old.finishedAt } : {}),
    ...(old.exitCode === undefined ? {} : { exitCode: old.exitCode }),
    ...(old.lastTermination ? { lastTermination: old.lastTermination } : {}),
  };
}
