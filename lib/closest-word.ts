// "Did you mean": the known word that a mistyped one is nearest to.

/** Longer words are seldom typos, and comparing takes time with their length. */
const MAX_LENGTH = 32;
/** Candidates beyond this are not looked at. */
const MAX_CANDIDATES = 1000;

/**
 * The candidate at most two edits away from `word`, and fewer than it has characters: the nearest and first of them;
 * two neighbours that changed places are one edit, case counts. Undefined: none is.
 */
export function closestWord(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_LENGTH) return undefined;
  let closest: { candidate: string; distance: number } | undefined;
  let seen = 0;
  for (const candidate of candidates) {
    seen += 1;
    if (seen > MAX_CANDIDATES) break;
    if (Math.abs(candidate.length - word.length) > 2) continue;
    const distance = editDistance(word, candidate);
    if (distance < Math.min(word.length, closest?.distance ?? 3)) closest = { candidate, distance };
  }
  return closest?.candidate;
}

// Optimal string alignment distance, one row at a time.
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution, swap));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
