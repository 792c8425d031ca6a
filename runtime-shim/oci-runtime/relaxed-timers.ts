// runc is a Go program, and Go has a thread that looks after the others: it sleeps for 20 us at a time while there is
// work. With a process that lives for a few dozen milliseconds these sleeps cost as much as a fourth of all it does. The
// kernel may wake that thread later than it asks for; what is started with the runtime gets its exact timers back. All that
// is left is what a container's first process gets when it asks for the default of its timers, prctl(PR_SET_TIMERSLACK, 0).
import { errnoOf } from '../../lib/errors.ts';
import { readTimerSlack, setTimerSlack } from '../host/timer-slack.ts';

/** 2 and 5 ms save no more. */
const RELAXED_NS = 1_000_000;

export interface RelaxedTimers {
  /** Lets a program that was just started, and what it starts from now on, be woken late. */
  relax(pid: number): void;
  /** Gives a process the timers that this process has. Throws where that is refused; one that is gone is none of it. */
  restore(pid: number): void;
}

/** For a runtime that does not sleep. */
export const exactTimers: RelaxedTimers = { relax: () => undefined, restore: () => undefined };

/** Does nothing where this process may not change the timers of others: then none has to be restored either. */
export function createRelaxedTimers(): RelaxedTimers {
  const ownNs = readTimerSlack('self');
  if (ownNs === undefined || ownNs >= RELAXED_NS) return exactTimers;
  let hasRelaxed = false;
  return {
    relax(pid) {
      try {
        hasRelaxed = setTimerSlack(pid, RELAXED_NS) || hasRelaxed;
      } catch (error) {
        if (errnoOf(error) === undefined) throw error;
      }
    },
    restore(pid) {
      if (hasRelaxed) setTimerSlack(pid, ownNs);
    },
  };
}
