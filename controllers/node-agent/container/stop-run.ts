// Stops one run. The grace period may get shorter while it is waited for: by `kubectl delete --grace-period`, or by a
// change of the spec. The runtime is told then; it never gets longer.
import { untilAborted } from '../../runtime/until-aborted.ts';
import type { ApplyDeps, ApplyInput, HostStep } from './apply-step.ts';
import { graceSecondsOf } from './grace-seconds.ts';

const LOOK_EVERY_MS = 250;
/** Runs that were ended as unhealthy and are remembered as such; only the newest few can still be asked about. */
const MAX_REMEMBERED_STOPS = 8;

/** Does the step; the runtime is asked whether the run has really ended. */
export async function stopRun(deps: ApplyDeps, input: ApplyInput, step: HostStep & { kind: 'stop' }): Promise<void> {
  const { memory } = input;
  const told = announceEnd(deps, input, step);
  if (step.unhealthy) {
    memory.unhealthyStops.add(step.containerId);
    const [oldest] = memory.unhealthyStops;
    if (oldest !== undefined && memory.unhealthyStops.size > MAX_REMEMBERED_STOPS) memory.unhealthyStops.delete(oldest);
  }
  await told;
  if (memory.isPaused) {
    await deps.runtime.unpause(step.containerId);
    memory.isPaused = false;
  }
  await stopWithGrace(deps, input, step.containerId);
  const ended = await deps.cache.refreshContainer(step.containerId);
  if (ended?.state === 'Running') throw new Error(`container ${step.containerId} still runs after it was stopped`);
}

/** Says that the container ends; resolves when nobody is sent to it any more that its deletion takes clients from. */
export async function announceEnd(
  deps: ApplyDeps,
  { container, signal }: ApplyInput,
  { why, unhealthy }: { why: string; unhealthy?: boolean },
): Promise<void> {
  deps.record(container, unhealthy ? 'Warning' : 'Normal', 'Killing', `stopping the container: ${why}`);
  // Many programs refuse connections from the moment they are asked to stop.
  if (container.metadata.deletionTimestamp !== undefined) await deps.retire(container, signal);
}

async function stopWithGrace(deps: ApplyDeps, { container, signal }: ApplyInput, containerId: string): Promise<void> {
  const ended = new AbortController();
  let graceSeconds = graceSecondsOf(container);
  const stop = (): Promise<void> => deps.runtime.stopContainer(containerId, graceSeconds);
  const shorten = async (): Promise<void> => {
    for (;;) {
      await deps.clock.sleep(LOOK_EVERY_MS, ended.signal).catch(() => undefined);
      if (ended.signal.aborted) return;
      const wanted = graceSecondsOf(deps.newest(container));
      if (wanted >= graceSeconds) continue;
      graceSeconds = wanted;
      await stop();
    }
  };
  const stopping = Promise.all([stop().finally(() => ended.abort()), shorten()]);
  // The runtime goes on with it while the agent is away; the next agent asks again.
  await untilAborted(stopping, signal).finally(() => ended.abort());
}
