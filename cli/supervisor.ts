// Keeps one component running: starts it, watches it end, starts it again with backoff.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { backoffDelayMs } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { isAbort, messageOf } from '../lib/errors.ts';
import { identifyProcess, type ProcessIdentity } from '../lib/process-identity.ts';
import type { Component } from './components.ts';

/** A component that ran this long had started well: its next failure counts as the first. */
const HEALTHY_RUN_MS = 30_000;
const STOP_GRACE_MS = 15_000;
const BACKOFF = { initialMs: 100, maxMs: 10_000 } as const;

export type SupervisorEvent =
  | { readonly type: 'started'; readonly process: ProcessIdentity }
  | { readonly type: 'exited'; readonly reason: string; readonly restartInMs: number; readonly failures: number }
  | { readonly type: 'stopped' };

export interface SuperviseOptions {
  readonly component: Component;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** Opens the log that receives the component's stdout and stderr. */
  readonly openLog: () => number;
  readonly onEvent: (event: SupervisorEvent) => void;
}

/** Runs until `signal` fires, then stops the component (SIGTERM, SIGKILL after 15 s) and resolves. */
export async function supervise(options: SuperviseOptions, signal: AbortSignal): Promise<void> {
  const { component, clock, onEvent } = options;
  let failures = 0;
  while (!signal.aborted) {
    const startedAt = clock.now();
    // A log that cannot be opened (no space left) is a failed start like any other.
    const reason = await runOnce(options, signal).catch(
      (error: unknown) => `could not be started: ${messageOf(error)}`,
    );
    if (signal.aborted) break;
    failures = clock.now() - startedAt > HEALTHY_RUN_MS ? 1 : failures + 1;
    const restartInMs = backoffDelayMs(failures, BACKOFF);
    onEvent({ type: 'exited', reason: `${component.name} ${reason}`, restartInMs, failures });
    try {
      await clock.sleep(restartInMs, signal);
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  }
  onEvent({ type: 'stopped' });
}

async function runOnce({ component, env, openLog, onEvent }: SuperviseOptions, signal: AbortSignal): Promise<string> {
  const log = openLog();
  let child: ChildProcess;
  try {
    // A session of its own keeps a terminal's Ctrl+C away from the child: the supervisor stops it in order.
    child = spawn(component.file, [...component.args], {
      stdio: ['ignore', log, log],
      env: { ...env, ...component.env },
      detached: true,
    });
  } finally {
    closeSync(log);
  }
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('exit', (code, killedBy) =>
      resolve(killedBy ? `was killed by ${killedBy}` : `ended with exit code ${code}`),
    );
  });
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
  if (identity) onEvent({ type: 'started', process: identity });
  let killTimer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    killTimer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  try {
    return await ended;
  } finally {
    clearTimeout(killTimer);
    signal.removeEventListener('abort', stop);
  }
}
