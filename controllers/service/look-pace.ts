// How soon a Service is looked at again while its Containers come and go. Pure.

/** A look goes through all of its Containers: what many of them do at once is worth one look. */
const MS_PER_CONTAINER = 0.5;
const LONGEST_MS = 50;
/** A look at fewer costs next to nothing, and who waits for their Service waits for each of its steps. */
const FEW = 20;

/** How long a change of one of `containers` may wait after a look that ended at `lookedAt`. */
export function lookDelayMs(
  containers: number,
  { lookedAt, now }: { lookedAt: number | undefined; now: number },
): number {
  if (lookedAt === undefined || containers < FEW) return 0;
  const paceMs = Math.floor(Math.min(containers * MS_PER_CONTAINER, LONGEST_MS));
  const delayMs = lookedAt + paceMs - now;
  // Of a clock that was set back nothing can be learnt, until the next look.
  return delayMs > paceMs ? 0 : Math.max(delayMs, 0);
}
