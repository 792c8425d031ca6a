import { setTimeout as sleep } from 'node:timers/promises';
import type { StopContainerRequest } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import { isNotFound, WindlassError } from '../../lib/errors.ts';
import { signalExactProcess } from '../host/processes.ts';
import { isLive, type ContainerRecord } from '../store/records.ts';
import { recordExit } from './container-exit.ts';
import type { Shim } from './deps.ts';
import { signalContainer } from './teardown.ts';

/** After SIGKILL: how long the kernel and conmon may take to bring the exit file. */
const KILL_MS = 30_000;
/** One that is being paused meanwhile, or forks faster than it is killed, survives a single round. */
const KILL_AGAIN_MS = 250;

/** Stops a container: its stop signal, then after `timeout` seconds SIGKILL; unknown or ended = success. */
export async function stopContainer(shim: Shim, { containerId, timeout }: StopContainerRequest): Promise<object> {
  const record = shim.store.containers.find(requireField(containerId, 'container_id'));
  if (record) await stopRecord(shim, record.id, timeout);
  return {};
}

/** Deadlines of stops under way: a later call with less grace shortens the earlier one's. */
const killTimes = new WeakMap<Shim, Map<string, number>>();

/** Same by full id. */
export async function stopRecord(shim: Shim, id: string, timeoutSeconds: number): Promise<void> {
  const record = shim.store.containers.get(id);
  if (!isLive(record)) return;
  const deadlines = killTimes.get(shim) ?? new Map<string, number>();
  killTimes.set(shim, deadlines);
  const wanted = performance.now() + Math.max(timeoutSeconds, 0) * 1000;
  const isFirst = !deadlines.has(id);
  deadlines.set(id, Math.min(deadlines.get(id) ?? Number.POSITIVE_INFINITY, wanted));
  try {
    // A created container waits in the runtime's own code, which heeds no stop signal.
    const isKill = timeoutSeconds <= 0 || record.phase === 'created';
    if (isKill) deadlines.set(id, 0);
    else if (isFirst) sendStopSignal(shim, record);
    await waitForEnd(shim, record, () => performance.now() >= (deadlines.get(id) ?? 0));
    if (hasEnded(shim, id)) return;
    const giveUp = performance.now() + KILL_MS;
    while (!hasEnded(shim, id) && performance.now() < giveUp) {
      // Whoever records the end waits until nobody is left: here it is enough to bring it about.
      signalContainer(shim, record);
      const again = performance.now() + KILL_AGAIN_MS;
      await waitForEnd(shim, record, () => performance.now() >= again);
    }
    if (!hasEnded(shim, id)) throw new WindlassError('Timeout', `container ${id} did not end after SIGKILL`);
  } finally {
    if (isFirst) deadlines.delete(id);
  }
}

function sendStopSignal(shim: Shim, record: ContainerRecord): void {
  try {
    if (shim.cgroups.isFrozen(record.cgroupsPath)) shim.cgroups.thaw(record.cgroupsPath);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  if (record.init) signalExactProcess(record.init, record.stopSignal);
}

function hasEnded(shim: Shim, id: string): boolean {
  return !isLive(shim.store.containers.get(id));
}

async function waitForEnd(shim: Shim, record: ContainerRecord, isOver: () => boolean): Promise<void> {
  let pauseMs = 2;
  while (!hasEnded(shim, record.id) && !isOver()) {
    // The exit folder is watched, but a look at it here saves a turn of the event loop on the usual fast path.
    if (shim.exits.read(record.id) !== undefined) await recordExit(shim, record.id);
    else await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 1.5, 50);
  }
}
