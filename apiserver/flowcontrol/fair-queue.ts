// One priority level: so many seats, and for who finds none a queue per flow, out of which flows take turns. One flow that
// asks for everything delays itself, and the others by one request of its at a time.
import { WindlassError } from '../../lib/errors.ts';

export interface FairQueueLimits {
  readonly seats: number;
  /** Requests of one flow that may wait. */
  readonly perFlow: number;
  /** Requests of all flows that may wait; of a flow that has none waiting, one always may. */
  readonly total: number;
  readonly maxWaitMs: number;
}

/** Why a request got no seat, in upstream's words. */
export type RejectReason = 'queue-full' | 'time-out' | 'cancelled';

export interface FairQueue {
  /**
   * Resolves with a seat; call what it returns when the request is done. Rejects with TooManyRequests, or with
   * Unavailable when `signal` fired; `onReject` is told why.
   */
  acquire(flow: string, signal: AbortSignal, onReject?: (reason: RejectReason) => void): Promise<() => void>;
  readonly executing: number;
  readonly waiting: number;
}

interface Waiter {
  readonly give: () => void;
  readonly turnAway: () => void;
}

/** Nobody in it. */
export function createFairQueue(limits: FairQueueLimits): FairQueue {
  // In the order in which the flows have their turns.
  const flows = new Map<string, Set<Waiter>>();
  let executing = 0;
  let waiting = 0;

  const leave = (flow: string, waiter: Waiter): void => {
    const queue = flows.get(flow);
    if (!queue?.delete(waiter)) return;
    waiting -= 1;
    if (queue.size === 0) flows.delete(flow);
  };
  // Not in the same turn of the event loop: what is answered from memory would otherwise make way for the next at once, and
  // a thousand watches that come back together would be one piece of work, during which nothing else is heard.
  let isServing = false;
  const serveSoon = (): void => {
    if (isServing || flows.size === 0) return;
    isServing = true;
    setImmediate(() => {
      isServing = false;
      serve();
    });
  };
  /** Gives free seats to whose turn it is; a flow that has had its turn goes behind the others. */
  const serve = (): void => {
    while (executing < limits.seats) {
      const [next] = flows;
      if (!next) return;
      const [flow, queue] = next;
      const [waiter] = queue as Set<Waiter>;
      leave(flow, waiter as Waiter);
      if (flows.delete(flow)) flows.set(flow, queue);
      executing += 1;
      (waiter as Waiter).give();
    }
  };
  /** Room for one more of a flow that has `own` waiting, at the cost of the flow that has the most. */
  const makeRoom = (own: number): boolean => {
    if (own >= limits.perFlow) return false;
    if (waiting < limits.total) return true;
    const longest = longestOf(flows.values());
    if (longest.size > own + 1) [...longest].at(-1)?.turnAway();
    else if (own > 0) return false;
    return true;
  };
  const seat = (): (() => void) => {
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      executing -= 1;
      serveSoon();
    };
  };

  return {
    get executing() {
      return executing;
    },
    get waiting() {
      return waiting;
    },
    async acquire(flow, signal, onReject) {
      // A seat that has come free is for those that wait.
      if (executing < limits.seats && flows.size === 0) {
        executing += 1;
        return seat();
      }
      if (signal.aborted) {
        onReject?.('cancelled');
        throw givenUp();
      }
      const queue = flows.get(flow) ?? new Set<Waiter>();
      if (!makeRoom(queue.size)) {
        onReject?.('queue-full');
        throw tooMany();
      }
      const given = Promise.withResolvers<() => void>();
      const waiter: Waiter = {
        give: () => given.resolve(seat()),
        turnAway: () => giveUp('queue-full', tooMany()),
      };
      flows.set(flow, queue.add(waiter));
      waiting += 1;
      const giveUp = (reason: RejectReason, error: Error): void => {
        leave(flow, waiter);
        onReject?.(reason);
        given.reject(error);
      };
      const timer = setTimeout(() => giveUp('time-out', tooMany()), limits.maxWaitMs);
      const onAbort = (): void => giveUp('cancelled', givenUp());
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        return await given.promise;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      }
    },
  };
}

const longestOf = (queues: Iterable<ReadonlySet<Waiter>>): ReadonlySet<Waiter> =>
  [...queues].reduce((longest, queue) => (queue.size > longest.size ? queue : longest), new Set<Waiter>());

const tooMany = (): WindlassError => new WindlassError('TooManyRequests', 'too many requests, please try again later');

const givenUp = (): WindlassError => new WindlassError('Unavailable', 'the request was given up');
