// What `up` shows while components start: one line each, then where things are and what to try next.
import type { Instance } from '../lib/instance.ts';
import type { ComponentStatus } from './machine.ts';
import type { Output } from './output.ts';
import { readVersion } from '../lib/version.ts';

export interface Progress {
  start(): void;
  /** Shows what has changed, and what to do next once everything is ready. `logTail` is read only for a failure. */
  show(all: readonly ComponentStatus[], logTail: (component: string) => string[]): void;
  isReady(): boolean;
  stopped(): void;
}

export function createProgress(output: Output, facts: { instance: Instance; nextSteps: string }): Progress {
  const shown = new Map<string, string>();
  const startedAt = performance.now();
  let ready = false;
  return {
    start() {
      output.note(`windlass ${readVersion()}, instance ${facts.instance.id}, state in ${facts.instance.home}`);
    },
    show(all, logTail) {
      const changed = all.filter((status) => shown.get(status.name) !== describe(status));
      for (const status of changed) {
        shown.set(status.name, describe(status));
        if (status.state === 'ready') {
          output.task(status.name).done(describe(status));
        } else if (status.state === 'restarting') {
          output.task(status.name).failed(describe(status));
          for (const line of logTail(status.name)) if (line.trim() !== '') output.note(`    ${line.slice(0, 200)}`);
        }
      }
      // A terminal's last line says what is being waited for.
      const waiting = all.find(({ state }) => state === 'starting');
      if (waiting && changed.length > 0) output.task(waiting.name).update(describe(waiting));
      if (!ready && all.length > 0 && all.every(({ state }) => state === 'ready')) {
        ready = true;
        const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
        output.note(`\nReady after ${seconds} s.\n${facts.nextSteps}`);
      }
    },
    isReady: () => ready,
    stopped: () => output.note('stopped; containers keep running (windlass down --purge removes them)'),
  };
}

function describe(status: ComponentStatus): string {
  const pid = status.process ? `, process ${status.process.pid}` : '';
  return status.state === 'ready' ? `${status.detail}${pid}` : status.detail;
}
