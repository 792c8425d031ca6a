// StartContainer, RemoveContainer, ListContainers, ContainerStatus, ReopenContainerLog.
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ContainerId,
  ContainerStatusRequest,
  ContainerStatusResponse,
  Draft,
  ListContainersRequest,
  ListContainersResponse,
} from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import { openDeadline } from '../../lib/deadline.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { bundleFiles } from '../oci-runtime/conmon.ts';
import type { ContainerRecord } from '../store/records.ts';
import { askToReopenLog } from '../oci-runtime/conmon-control.ts';
import { recordExit } from './container-exit.ts';
import type { Shim } from './deps.ts';
import { publishEvent } from './events.ts';
import { getContainer, getRunningContainer } from './lookup.ts';
import { selectContainers } from './select.ts';
import { toContainer, toContainerStatus } from './status-messages.ts';
import { teardownContainer } from './teardown.ts';

const START_MS = 60_000;
const REOPEN_MS = 10_000;

/** Lets a created container run; running already = success. */
export async function startContainer(shim: Shim, { containerId }: ContainerId): Promise<object> {
  const { id } = getContainer(shim, containerId);
  await shim.queue.run(id, async () => {
    await shim.turns.next();
    const record = getContainer(shim, id);
    if (record.phase === 'running') return;
    if (record.phase !== 'created' || !record.init) {
      throw new WindlassError('Conflict', `container ${id} cannot be started: it is ${record.phase}`);
    }
    // Recorded first: a crash between the two leaves "running", which the exit file or a look at the process corrects.
    const running = {
      ...record,
      phase: 'running' as const,
      startedAtMs: Math.max(shim.clock.now(), record.createdAtMs),
    };
    shim.store.containers.save(running);
    using deadline = openDeadline(START_MS);
    try {
      await shim.runtime.start(id, record.init, deadline.signal);
    } catch (error) {
      shim.store.containers.note(record);
      throw error;
    }
    publishEvent(shim, running, 'CONTAINER_STARTED_EVENT');
  });
  if (shim.exits.read(id) !== undefined) await recordExit(shim, id);
  return {};
}

/** Removes a container, killing it first if need be; unknown = success. */
export async function removeContainer(shim: Shim, { containerId }: ContainerId): Promise<object> {
  const record = shim.store.containers.find(requireField(containerId, 'container_id'));
  if (record) await shim.queue.run(record.id, () => teardownContainer(shim, record.id));
  return {};
}

export async function listContainers(
  shim: Shim,
  { filter }: ListContainersRequest,
): Promise<Draft<ListContainersResponse>> {
  return { containers: selectContainers(shim, filter).map(toContainer) };
}

export async function containerStatus(
  shim: Shim,
  { containerId, verbose }: ContainerStatusRequest,
): Promise<Draft<ContainerStatusResponse>> {
  const record = getContainer(shim, containerId);
  return { status: toContainerStatus(record), info: verbose ? { info: JSON.stringify(describe(record)) } : {} };
}

/** What the verbose status tells of a container beyond CRI's own fields, its OCI configuration included. */
function describe(record: ContainerRecord): object {
  const { sandboxId, bundle, cgroupsPath, init, conmon, config } = record;
  return {
    sandboxID: sandboxId,
    pid: init?.pid ?? 0,
    conmonPid: conmon?.pid ?? 0,
    bundle,
    cgroupsPath,
    privileged: config.linux?.securityContext?.privileged ?? false,
    runtimeSpec: readSpec(bundle),
  };
}

function readSpec(bundle: string): unknown {
  try {
    return JSON.parse(readFileSync(bundleFiles.config(bundle), 'utf8'));
  } catch (error) {
    // A container that is being removed has none any more.
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Makes conmon open its log file anew, after a rotation; the new file exists when this returns. */
export async function reopenContainerLog(shim: Shim, { containerId }: ContainerId): Promise<object> {
  const record = getRunningContainer(shim, containerId);
  if (record.logPath === undefined) throw new WindlassError('Conflict', `container ${record.id} has no log file`);
  const before = inodeOf(record.logPath);
  askToReopenLog(record.bundle, record.id);
  const deadline = performance.now() + REOPEN_MS;
  // conmon says nothing back. With the old file still in place there is nothing to see either: it was merely reopened.
  while (before === undefined && inodeOf(record.logPath) === undefined) {
    if (performance.now() > deadline)
      throw new WindlassError('Timeout', `the log of container ${record.id} was not reopened`);
    await sleep(2);
  }
  return {};
}

function inodeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.ino;
}
