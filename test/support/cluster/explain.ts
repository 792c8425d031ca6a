// What is printed of processes when a test has waited for them in vain.
import { existsSync } from 'node:fs';
import type { Supervised } from './supervised.ts';

/** Of each: whether it runs, how its runs ended, and the last lines that it printed. */
export function explain(processes: readonly { readonly of: string; readonly process: Supervised }[]): string {
  return processes
    .map(({ of, process }) => {
      const ends = process.ends();
      const state = `${process.isRunning() ? 'runs' : 'does not run'}; ended: ${ends.join(', ') || 'never'}`;
      return `--- ${process.name} of ${of}: ${state}\n${existsSync(process.logFile) ? process.tail(40) : ''}`;
    })
    .join('\n');
}
