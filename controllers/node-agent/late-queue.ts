// The queue of a controller before it runs.
import type { WorkQueue } from '../runtime/workqueue.ts';

export interface LateQueue {
  add(key: string): void;
  /** From now on keys go to `queue`. */
  attach(queue: Pick<WorkQueue, 'add' | 'addAfter'>): void;
}

/** A queue with nothing behind it yet: what is added until then comes in with the controller's first list anyway. */
export function createLateQueue(): LateQueue {
  let target: Pick<WorkQueue, 'add' | 'addAfter'> | undefined;
  return {
    add: (key) => target?.add(key),
    attach: (queue) => {
      target = queue;
    },
  };
}
