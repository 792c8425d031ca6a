// What is done once nothing changes any more: a shim that has just started or ended many containers goes back to the size
// it needs to look after those that are left.
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { RunPart } from '../lib/run-all.ts';

/** Calls that leave something to give back; questions (lists, statuses) come at any time and do not. */
const IS_WORK = /\/(?:Run|Create|Start|Stop|Remove|Exec|Pull|Import|Export|Push|Checkpoint)/;
const QUIET_MS = 5_000;

export interface Rest {
  /** To be told of every call, as `RuntimeService/Version`. */
  noteCall(method: string): void;
  readonly part: RunPart;
}

/** Calls `whenQuiet` once the process has started, and once after each stretch of work. */
export function createRest(whenQuiet: () => Promise<void>, log: Pick<Logger, 'warn'>, quietMs = QUIET_MS): Rest {
  let workAt = performance.now();
  let wake = (): void => undefined;
  return {
    noteCall(method) {
      if (!IS_WORK.test(method)) return;
      workAt = performance.now();
      wake();
    },
    part: {
      name: 'rest',
      async run(signal) {
        const onAbort = (): void => wake();
        signal.addEventListener('abort', onAbort, { once: true });
        try {
          for (let doneAt = 0; !signal.aborted;) {
            const leftMs = workAt + quietMs - performance.now();
            if (workAt > doneAt && leftMs > 0) {
              await sleep(leftMs, undefined, { signal });
            } else if (workAt > doneAt) {
              doneAt = performance.now();
              await whenQuiet().catch((err: unknown) => log.warn({ err }, 'failed to give memory back'));
            } else {
              await new Promise<void>((resolve) => (wake = resolve));
            }
          }
        } catch (error) {
          if (!isAbort(error)) throw error;
        } finally {
          signal.removeEventListener('abort', onAbort);
        }
      },
    },
  };
}
