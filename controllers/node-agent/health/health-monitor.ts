// Runs the health checks of all running containers, each in its own loop, and keeps their states.
import type { Container } from '../../../crds/container.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAbort, messageOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { ContainerState, NodeRuntime, SandboxNetwork } from '../runtime/node-runtime.ts';
import type { ResolvedHealthCheck } from './health-check.ts';
import { INITIAL_HEALTH, nextHealth, nextProbeDelayMs, type HealthState } from './health-state.ts';
import { runProbe } from './run-probe.ts';

/** A run and how it is checked. */
export interface HealthTarget {
  readonly run: ContainerState;
  readonly check: ResolvedHealthCheck | undefined;
  readonly network: SandboxNetwork | undefined;
  /** A frozen process answers nothing: it is not asked, and what was known of it stands. */
  readonly isPaused: boolean;
}

export interface HealthMonitor {
  /** Sees to it that the run is checked as said; undefined = nothing of this Container runs. */
  follow(container: Container, target: HealthTarget | undefined): void;
  stateOf(containerId: string): HealthState | undefined;
  /** Stops the checks of Containers of which none has a UID in `known`: deleted by force. */
  retain(known: ReadonlySet<string>): void;
}

export interface HealthMonitorDeps {
  readonly runtime: Pick<NodeRuntime, 'execSync'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called with `namespace/name` when the state has changed in a way a reader can see. */
  readonly onChange: (key: string) => void;
}

interface Loop {
  readonly containerId: string;
  readonly text: string;
  readonly stop: AbortController;
  state: HealthState;
}

/** A monitor whose loops all end with `signal`. */
export function createHealthMonitor(deps: HealthMonitorDeps, signal: AbortSignal): HealthMonitor {
  const loops = new Map<string, Loop>();
  return {
    follow(container, target) {
      const uid = container.metadata.uid ?? '';
      const { run, check, network, isPaused } = target ?? {};
      const ip = container.spec.hostNetwork ? '127.0.0.1' : network?.interfaces[0]?.ipv4Address;
      const text = JSON.stringify([check, ip, isPaused]);
      const loop = loops.get(uid);
      if (loop && run && check && loop.containerId === run.id && loop.text === text) return;
      loop?.stop.abort();
      loops.delete(uid);
      if (!run || !check || signal.aborted) return;
      const next: Loop = {
        containerId: run.id,
        text,
        stop: new AbortController(),
        // A changed check of the same run goes on from what is known.
        state: loop?.containerId === run.id ? loop.state : knownState(container, run),
      };
      loops.set(uid, next);
      if (isPaused) return;
      const key = `${container.metadata.namespace ?? ''}/${container.metadata.name}`;
      const stop = AbortSignal.any([signal, next.stop.signal]);
      checkForEver(deps, next, { key, check, ip, startedAtMs: run.startedAtMs, signal: stop }).catch(
        (error: unknown) => {
          if (!stop.aborted) deps.log.error({ err: error, container: key }, 'health check loop ended');
        },
      );
    },
    stateOf(containerId) {
      for (const loop of loops.values()) if (loop.containerId === containerId) return loop.state;
      return undefined;
    },
    retain(known) {
      for (const [uid, loop] of loops) {
        if (known.has(uid)) continue;
        loop.stop.abort();
        loops.delete(uid);
      }
    },
  };
}

/** After a restart of the agent, what the status says of the same run stands until the next probe. */
function knownState({ status }: Container, run: ContainerState): HealthState {
  if (status?.containerID !== run.id || !status.health) return INITIAL_HEALTH;
  return { status: status.health.status, failingStreak: status.health.failingStreak };
}

async function checkForEver(
  deps: HealthMonitorDeps,
  loop: Loop,
  target: { key: string; check: ResolvedHealthCheck; ip: string | undefined; startedAtMs: number; signal: AbortSignal },
): Promise<void> {
  const { check, signal, startedAtMs } = target;
  while (!signal.aborted) {
    try {
      await deps.clock.sleep(nextProbeDelayMs(loop.state, check.times, startedAtMs, deps.clock.now()), signal);
    } catch (error) {
      if (isAbort(error)) return;
      throw error;
    }
    const begunAtMs = deps.clock.now();
    const result = await runProbe(
      check.probe,
      {
        ip: target.ip,
        exec: (command, timeoutMs, stop) =>
          deps.runtime
            .execSync(loop.containerId, command, Math.max(1, Math.ceil(timeoutMs / 1000)), stop)
            .catch((error: unknown) => {
              if (signal.aborted) throw error;
              return { exitCode: -1, output: messageOf(error) };
            }),
      },
      check.times.timeoutMs,
      signal,
    );
    const before = loop.state;
    loop.state = nextHealth(before, result, check.times, startedAtMs, begunAtMs);
    if (before.status !== loop.state.status || before.failingStreak !== loop.state.failingStreak)
      deps.onChange(target.key);
  }
}
