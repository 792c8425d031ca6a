// All components of one machine under supervision: started together, stopped in order.
import type { Clock } from '../lib/clock.ts';
import type { ProcessIdentity } from '../lib/process-identity.ts';
import type { Component, ComponentName } from './components.ts';
import { checkReadiness, type ReadinessDependencies } from './readiness.ts';
import { supervise, type SupervisorEvent } from './supervisor.ts';

const READINESS_POLL_MS = 50;

export interface ComponentStatus {
  readonly name: ComponentName;
  state: 'starting' | 'ready' | 'restarting' | 'stopped';
  /** Why it is not ready, or for how long it took to be. */
  detail: string;
  process?: ProcessIdentity;
  restarts: number;
}

export interface MachineOptions {
  readonly components: readonly Component[];
  readonly readiness: Omit<ReadinessDependencies, 'startedAt'>;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly openLog: (component: string) => number;
  /** Called after every change of a component's status. */
  readonly onChange: (all: readonly ComponentStatus[]) => void;
}

/** Runs all components until `signal` fires; resolves when all have stopped. Containers are not touched. */
export async function runMachine(options: MachineOptions, signal: AbortSignal): Promise<void> {
  const statuses: ComponentStatus[] = options.components.map(({ name }) => ({
    name,
    state: 'starting',
    detail: 'waiting',
    restarts: 0,
  }));
  const running = new Map(
    options.components.map((component) => {
      const stop = new AbortController();
      return [component.name, { stop, ended: runComponent(component, statuses, options, stop.signal) }];
    }),
  );
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  for (const stage of stopStages(options.components)) {
    for (const name of stage) running.get(name)?.stop.abort();
    await Promise.all(stage.flatMap((name) => running.get(name)?.ended ?? []));
  }
}

async function runComponent(
  component: Component,
  statuses: readonly ComponentStatus[],
  options: MachineOptions,
  stop: AbortSignal,
): Promise<void> {
  const status = statuses.find(({ name }) => name === component.name) as ComponentStatus;
  const change = (update: Partial<ComponentStatus>): void => {
    Object.assign(status, update);
    options.onChange(statuses);
  };
  let watch: AbortController | undefined;
  const onEvent = (event: SupervisorEvent): void => {
    watch?.abort();
    switch (event.type) {
      case 'started': {
        watch = new AbortController();
        change({ state: 'starting', detail: 'starting', process: event.process });
        void becomeReady(component.name, options, AbortSignal.any([watch.signal, stop]), change);
        break;
      }
      case 'exited':
        delete status.process;
        change({
          state: 'restarting',
          detail: `${event.reason}; next try in ${event.restartInMs} ms`,
          restarts: status.restarts + 1,
        });
        break;
      case 'stopped':
        delete status.process;
        change({ state: 'stopped', detail: 'stopped' });
        break;
    }
  };
  await supervise(
    { component, env: options.env, clock: options.clock, openLog: () => options.openLog(component.name), onEvent },
    stop,
  );
}

async function becomeReady(
  name: ComponentName,
  { readiness, clock }: MachineOptions,
  signal: AbortSignal,
  change: (update: Partial<ComponentStatus>) => void,
): Promise<void> {
  const startedAt = clock.now();
  let shown = '';
  while (!signal.aborted) {
    const reason = await checkReadiness(name, { ...readiness, startedAt }, signal);
    if (signal.aborted) return;
    if (reason === undefined) {
      change({ state: 'ready', detail: `ready in ${((clock.now() - startedAt) / 1000).toFixed(1)} s` });
      return;
    }
    if (reason !== shown) change({ detail: reason });
    shown = reason;
    await clock.sleep(READINESS_POLL_MS, signal).catch(() => undefined);
  }
}

/** Who stops together: those that no running component needs any more. */
export function stopStages(components: readonly Component[]): ComponentName[][] {
  const stages: ComponentName[][] = [];
  let left = [...components];
  while (left.length > 0) {
    const needed = new Set(left.flatMap(({ needs }) => needs));
    const stage = left.filter(({ name }) => !needed.has(name));
    stages.push(stage.map(({ name }) => name));
    left = left.filter(({ name }) => needed.has(name));
  }
  return stages;
}
