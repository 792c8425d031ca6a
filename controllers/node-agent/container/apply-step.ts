// Carries out one step of the plan; the runtime cache shows the result at once, without waiting for its events.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container } from '../../../crds/container.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAlreadyExists, isNotFound, messageOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { listAttemptFiles, listAttempts, logDirectoryName } from '../logs/log-files.ts';
import type { NodeRuntime, SandboxNetwork } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import type { UserRange, UserRanges } from '../users/user-ranges.ts';
import { containerConfig } from './container-config.ts';
import { attachmentKeys, resourcesKey } from './drift.ts';
import { terminationOf, type Termination } from './last-termination.ts';
import type { ContainerMemory } from './memory.ts';
import { mendDrift } from './mend-drift.ts';
import type { Step } from './plan.ts';
import type { Prepared } from './prepared.ts';
import { rootfsKey } from './rootfs-key.ts';
import { attachmentsOf, sandboxConfig, type SandboxInput } from './sandbox-config.ts';
import { ANNOTATIONS } from './annotations.ts';
import { specHash } from './spec-hash.ts';
import { isTransient, rememberFailure } from './start-failure.ts';
import { announceEnd, stopRun } from './stop-run.ts';

export interface ApplyDeps {
  readonly runtime: NodeRuntime;
  readonly cache: RuntimeCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly podLogs: string;
  readonly userRanges: Pick<UserRanges, 'rangeOf'>;
  /** Resolves when no node sends a client of a Service to the Container any more, or when that took too long. */
  readonly retire: (container: Container, signal: AbortSignal) => Promise<void>;
  /** The same object (by UID) as it is now. */
  readonly newest: (container: Container) => Container;
  readonly record: (container: Container, type: 'Normal' | 'Warning', reason: string, message: string) => void;
}

export interface ApplyInput {
  readonly container: Container;
  readonly memory: ContainerMemory;
  readonly prepared: Prepared | undefined;
  readonly signal: AbortSignal;
}

/** The steps that change the host; `prepare`, `rest` and `release` are the reconciler's own. */
export type HostStep = Exclude<Step, { kind: 'prepare' | 'rest' | 'release' }>;

/** Does `step`. A failure to make or start the container is remembered for its backoff, not thrown. */
export async function applyStep(deps: ApplyDeps, input: ApplyInput, step: HostStep): Promise<void> {
  switch (step.kind) {
    case 'run-sandbox':
      return remembering(deps, input, 'SandboxFailed', () => runSandbox(deps, input, step.attempt));
    case 'create':
      return remembering(deps, input, 'CreateFailed', () => createRun(deps, input, step), step.sandboxId);
    case 'start':
      return startRun(deps, input, step.containerId);
    case 'stop':
      return stopRun(deps, input, step);
    case 'remove-sandbox':
      return removeSandbox(deps, input, step);
    case 'remove-container':
      await deps.runtime.removeContainer(step.containerId);
      return deps.cache.dropContainer(step.containerId);
    case 'pause':
    case 'unpause':
      try {
        await deps.runtime[step.kind](step.containerId);
      } catch (error) {
        const reason = step.kind === 'pause' ? 'PauseFailed' : 'ResumeFailed';
        deps.record(input.container, 'Warning', reason, messageOf(error));
        throw error;
      }
      input.memory.isPaused = step.kind === 'pause';
      return deps.record(
        input.container,
        'Normal',
        step.kind === 'pause' ? 'Paused' : 'Resumed',
        `${step.kind}d the container`,
      );
    default:
      return mendDrift(deps, input, step);
  }
}

async function runSandbox(deps: ApplyDeps, input: ApplyInput, attempt: number): Promise<void> {
  const config = sandboxConfig(sandboxInput(deps, input, attempt));
  const id = await deps.runtime.runSandbox(config);
  const { name, namespace = '', uid = '' } = input.container.metadata;
  deps.cache.putSandbox({
    id,
    name,
    namespace,
    uid,
    attempt,
    isReady: true,
    createdAtMs: deps.clock.now(),
    annotations: config.annotations as Record<string, string>,
    labels: config.labels as Record<string, string>,
  });
  input.memory.network = undefined;
  input.memory.appliedAttachments = { sandboxId: id, keys: attachmentKeys(attachmentsOf(input.container)) };
}

async function removeSandbox(
  deps: ApplyDeps,
  input: ApplyInput,
  { sandboxId, why }: HostStep & { kind: 'remove-sandbox' },
): Promise<void> {
  const { container, memory } = input;
  const runs = deps.cache.viewOf(container.metadata.uid ?? '').containers.some(({ state }) => state === 'Running');
  if (runs) await announceEnd(deps, input, { why });
  const hash = deps.cache.sandboxes().find(({ id }) => id === sandboxId)?.annotations[ANNOTATIONS.specHash];
  // What may take its time to end has done so: a removal ends the rest by force (RemovePodSandbox of CRI).
  await deps.runtime.removeSandbox(sandboxId);
  const isOver = container.metadata.deletionTimestamp !== undefined || hash !== specHash(container.spec);
  if (isOver && hash) await deps.runtime.removeRootFilesystem(rootfsKey(container.metadata.uid ?? '', hash));
  deps.cache.dropSandbox(sandboxId);
  memory.network = undefined;
}

/** Asked once per sandbox, beside a step that does not need the answer. */
async function learnNetwork(deps: ApplyDeps, memory: ContainerMemory, sandboxId: string): Promise<SandboxNetwork> {
  if (memory.network?.sandboxId !== sandboxId) {
    memory.network = { sandboxId, value: await deps.runtime.sandboxNetwork(sandboxId) };
  }
  return memory.network.value;
}

function sandboxInput(deps: ApplyDeps, { container, memory, prepared }: ApplyInput, attempt: number): SandboxInput {
  return {
    container,
    attempt,
    podLogs: deps.podLogs,
    imageConfig: memory.image?.config ?? {},
    hostGateway: prepared?.network.state === 'Ready' ? prepared.network.hostGateway : '',
    userRange: userRangeOf(deps, container),
    targetKey: prepared?.network.state === 'Ready' ? prepared.network.targetKey : undefined,
    targetSandboxId: prepared?.network.state === 'Ready' ? prepared.network.targetSandboxId : undefined,
  };
}

const userRangeOf = ({ userRanges }: ApplyDeps, { metadata, spec }: Container): UserRange | undefined =>
  spec.securityContext?.userNamespace === 'Auto' ? userRanges.rangeOf(metadata.uid ?? '') : undefined;

async function createRun(deps: ApplyDeps, input: ApplyInput, step: HostStep & { kind: 'create' }): Promise<void> {
  const { container, memory, prepared } = input;
  if (prepared?.image.state !== 'Ready' || prepared.volumes.state !== 'Ready') throw new Error('nothing is prepared');
  const needsAddress = container.spec.env?.some(({ valueFrom }) => valueFrom?.fieldRef?.fieldPath === 'status.podIP');
  const network = needsAddress ? await learnNetwork(deps, memory, step.sandboxId) : undefined;
  const env = prepared.volumes.readEnv(network?.interfaces[0]?.ipv4Address);
  if (!env.ok) throw new Error(env.message);
  const sandbox = deps.cache.sandboxes().find(({ id }) => id === step.sandboxId);
  const attempt = await startLog(deps.podLogs, container, step.attempt);
  const config = containerConfig({
    container,
    attempt,
    restartCount: step.restartCount,
    shortRuns: step.shortRuns,
    image: { id: prepared.image.image.id, digest: prepared.image.image.digest, reference: prepared.image.reference },
    env: env.env,
    mounts: prepared.volumes.mounts,
    userRange: userRangeOf(deps, container),
    lastTermination: endOf(deps, memory, step.previous?.id),
  });
  // Its log stays for `previous`.
  if (step.previous?.stays === false) {
    await deps.runtime.removeContainer(step.previous.id);
    deps.cache.dropContainer(step.previous.id);
  }
  const id = await deps.runtime.createContainer(
    step.sandboxId,
    config,
    sandboxConfig(sandboxInput(deps, input, sandbox?.attempt ?? 0)),
  );
  deps.cache.putContainer({
    id,
    sandboxId: step.sandboxId,
    name: container.metadata.name,
    attempt,
    state: 'Created',
    createdAtMs: deps.clock.now(),
    startedAtMs: 0,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    annotations: config.annotations as Record<string, string>,
  });
  memory.appliedResources = { containerId: id, key: resourcesKey(container) };
}

function endOf(deps: ApplyDeps, memory: ContainerMemory, runId: string | undefined): Termination | undefined {
  const run = runId === undefined ? undefined : deps.cache.container(runId);
  return run && run.startedAtMs > 0 ? terminationOf(run, memory.unhealthyStops.has(run.id)) : undefined;
}

/**
 * The attempt for a new log: the runtime forgets what was replaced, so the files on disk count too. Of the runs before,
 * one log is kept.
 */
async function startLog(podLogs: string, { metadata }: Container, planned: number): Promise<number> {
  const { namespace = '', name, uid = '' } = metadata;
  const directory = join(podLogs, logDirectoryName(namespace, name, uid), name);
  const attempts = await listAttempts(directory);
  const last = attempts.at(-1) ?? -1;
  for (const old of attempts.filter((one) => one < last)) {
    for (const file of await listAttemptFiles(directory, old)) await rm(file, { force: true });
  }
  return Math.max(planned, last + 1);
}

async function startRun(deps: ApplyDeps, input: ApplyInput, containerId: string): Promise<void> {
  const { container, memory } = input;
  const sandboxId = deps.cache.container(containerId)?.sandboxId ?? '';
  try {
    // What the network is can be asked again later; only the start itself may fail here.
    const learnt = learnNetwork(deps, memory, sandboxId).catch(() => undefined);
    await Promise.all([deps.runtime.startContainer(containerId), learnt]);
  } catch (error) {
    const isGone = isNotFound(error) && !(await deps.cache.refreshContainer(containerId));
    if (isGone || isTransient(error)) throw error;
    // What could not be started is of no use: the next try makes a new one.
    await deps.runtime.removeContainer(containerId);
    deps.cache.dropContainer(containerId);
    rememberFailure(deps, input, 'StartFailed', messageOf(error));
    return;
  }
  const created = deps.cache.container(containerId);
  // The start time comes from the clock here; the runtime's own follows with its event.
  if (created?.state === 'Created') {
    deps.cache.putContainer({ ...created, state: 'Running', startedAtMs: deps.clock.now() });
  }
  memory.startFailure = undefined;
  memory.startIntentMs = undefined;
  memory.isPaused = false;
  deps.record(container, 'Normal', 'Started', 'started the container');
}

async function remembering(
  deps: ApplyDeps,
  input: ApplyInput,
  reason: string,
  action: () => Promise<void>,
  sandboxId?: string,
): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (isTransient(error)) throw error;
    // Something that the container names is missing, or its sandbox has gone meanwhile: only the latter is nobody's fault.
    if (isNotFound(error) && sandboxId !== undefined && !(await hasSandbox(deps, sandboxId))) throw error;
    rememberFailure(
      deps,
      input,
      isAlreadyExists(error) && /port/i.test(messageOf(error)) ? 'PortConflict' : reason,
      messageOf(error),
    );
  }
}

async function hasSandbox({ cache }: ApplyDeps, sandboxId: string): Promise<boolean> {
  await cache.relist();
  return cache.sandboxes().some(({ id }) => id === sandboxId);
}
