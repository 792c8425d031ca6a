// Long work in slices, so that others of the same event loop have their turn in between.
import { setImmediate as turn } from 'node:timers/promises';

/** Items after which others have their turn: some milliseconds of parsing or serialising. */
export const SLICE = 200;

/** What `map` makes of each slice of `items`, in their order; a turn of the event loop between two of them. */
export async function mapSlices<T, R>(items: readonly T[], map: (slice: readonly T[]) => R): Promise<R[]> {
  if (items.length <= SLICE) return [map(items)];
  const results: R[] = [];
  for (let start = 0; start < items.length; start += SLICE) {
    if (start > 0) await turn();
    results.push(map(items.slice(start, start + SLICE)));
  }
  return results;
}
