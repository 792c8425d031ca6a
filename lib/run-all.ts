// Long-running parts of a process, run together: the first that fails stops the others, and none is left behind.
import { isAbort } from './errors.ts';

export interface RunPart {
  readonly name: string;
  /** Runs until `signal` fires, then resolves. Rejecting means the whole process cannot go on. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Runs all parts until `signal` fires or one part ends by itself; then aborts the rest and waits for them at most
 * `graceMs` (10 s unless said). Rejects with the first failure; resolves when all stopped as asked.
 */
export async function runAll(parts: readonly RunPart[], signal: AbortSignal, graceMs = 10_000): Promise<void> {
  const stop = new AbortController();
  const combined = AbortSignal.any([signal, stop.signal]);
  let firstFailure: { part: string; error: unknown } | undefined;
  const runs = parts.map(async (part) => {
    try {
      await part.run(combined);
      if (!combined.aborted) throw new Error(`part ${part.name} ended by itself`);
    } catch (error) {
      if (!(combined.aborted && isAbort(error))) firstFailure ??= { part: part.name, error };
    } finally {
      stop.abort();
    }
  });
  await new Promise<void>((resolve) => {
    if (combined.aborted) resolve();
    else combined.addEventListener('abort', () => resolve(), { once: true });
  });
  let timer: NodeJS.Timeout | undefined;
  const grace = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([Promise.all(runs), grace]);
  clearTimeout(timer);
  if (firstFailure) throw new Error(`${firstFailure.part} failed`, { cause: firstFailure.error });
}
