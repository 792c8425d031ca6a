// When a schedule comes due. Times are those of croner: a time that the change to summer time leaves out comes right
// after the gap, one that the change back has twice comes once; steps and lists of hours and minutes follow the clock.
import { Cron } from 'croner';
import type { ServiceSpec } from '../../crds/service.ts';
import { messageOf, TerminalError } from '../../lib/errors.ts';

export interface ScheduleTimes {
  /** The first time after `ms`. */
  next(ms: number): number | undefined;
  /** The last time at or before `ms`. */
  last(ms: number): number | undefined;
}

const LATEST_STEPS = 200;

/** The times of `schedule`; a TerminalError that names the field when it has none. */
export function scheduleTimes({
  cron,
  timeZone,
}: Pick<NonNullable<ServiceSpec['schedule']>, 'cron' | 'timeZone'>): ScheduleTimes {
  if (!isTimeZone(timeZone)) {
    throw new TerminalError(
      'InvalidSchedule',
      `spec.schedule.timeZone: ${timeZone} is not a time zone: want a name of the IANA database, e.g. Europe/Berlin or UTC`,
    );
  }
  const pattern = parsePattern(cron, timeZone);
  const next = (ms: number): number | undefined => pattern.nextRun(new Date(ms))?.getTime();
  return {
    next,
    last(ms) {
      // The library looks strictly before a time; what it finds is carried on to the last that is not after `ms`.
      let found = pattern.previousRuns(1, new Date(ms))[0]?.getTime();
      for (let step = 0; step < LATEST_STEPS; step += 1) {
        const later = next(found ?? ms - 1_000);
        if (later === undefined || later > ms) break;
        found = later;
      }
      return found;
    },
  };
}

function parsePattern(cron: string, timezone: string): Cron {
  const wrong = (why: string): TerminalError =>
    new TerminalError(
      'InvalidSchedule',
      `spec.schedule.cron: ${cron}: ${why}: want minute hour day month weekday, e.g. 30 2 * * 1, or @daily and the like`,
    );
  try {
    const pattern = new Cron(cron.trim(), { timezone, paused: true, mode: cron.startsWith('@') ? 'auto' : '5-part' });
    if (pattern.nextRun() === null) throw wrong('never comes');
    return pattern;
  } catch (error) {
    if (error instanceof TerminalError) throw error;
    throw wrong(messageOf(error).replace(/^Cron\w+: /, ''));
  }
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
