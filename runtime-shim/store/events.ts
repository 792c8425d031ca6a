// Container events, in order, to any number of readers.
import { WindlassError } from '../../lib/errors.ts';

export interface EventHub<Event> {
  publish(event: Event): void;
  /**
   * Events from now on, until `signal` fires. One that falls too far behind gets no more: what waits for it is dropped at
   * once, and its next read fails with Expired.
   */
  subscribe(signal: AbortSignal): AsyncIterable<Event>;
}

const MAX_BEHIND = 1_000;

export function createEventHub<Event>({ maxBehind = MAX_BEHIND } = {}): EventHub<Event> {
  const readers = new Set<(event: Event) => void>();
  return {
    publish(event) {
      for (const push of readers) push(event);
    },
    subscribe(signal) {
      // Registered at once, not at the first read: nothing that happens in between is missed.
      const queue: Event[] = [];
      let wake = (): void => undefined;
      let isTooSlow = false;
      const push = (event: Event): void => {
        if (queue.length >= maxBehind) {
          isTooSlow = true;
          queue.length = 0;
          readers.delete(push);
        } else {
          queue.push(event);
        }
        wake();
      };
      readers.add(push);
      const leave = (): void => {
        readers.delete(push);
        wake();
      };
      signal.addEventListener('abort', leave, { once: true });
      return read();
      async function* read(): AsyncGenerator<Event> {
        try {
          for (;;) {
            if (isTooSlow) throw new WindlassError('Expired', 'the reader of events is too far behind: list again');
            const event = queue.shift();
            if (event !== undefined) yield event;
            else if (signal.aborted) return;
            else
              await new Promise<void>((resolve) => {
                wake = resolve;
              });
          }
        } finally {
          signal.removeEventListener('abort', leave);
          leave();
        }
      }
    },
  };
}
