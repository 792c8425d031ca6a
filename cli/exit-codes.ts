import { reasonOf } from '../lib/errors.ts';

/** Exit codes of the `windlass` command; 130 after an interrupt, as shells have it. */
export const EXIT = { ok: 0, failure: 1, usage: 2, notFound: 3, conflict: 4, timeout: 124 } as const;

/** The exit code for a failure. */
export function exitCodeOf(error: unknown): number {
  switch (reasonOf(error)) {
    case 'BadRequest':
      return EXIT.usage;
    case 'NotFound':
      return EXIT.notFound;
    case 'Conflict':
    case 'AlreadyExists':
      return EXIT.conflict;
    case 'Timeout':
      return EXIT.timeout;
    default:
      return EXIT.failure;
  }
}
