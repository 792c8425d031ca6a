// Hides what secrets hold in what a command prints. What that costs grows with the length of the text, not with how many
// lines the secrets have: a text is gone through once, and in a sorted list of the lines few are compared with a place.

/** Shorter ones are found in half of all lines. */
const MIN_SECRET = 4;
export const HIDDEN = '***';

/** Puts *** in the place of each line of a secret. */
export interface Redactor {
  (text: string): string;
  /** Length of the longest text that it looks for. */
  readonly longest: number;
}

/** A redactor of what these secrets hold, line by line, as programs print them; lines under four characters stay. */
export function createRedactor(secrets: Iterable<Buffer>): Redactor {
  const lengthAt = createSearch(linesOf(secrets));
  const redact = (text: string): string => {
    if (lengthAt.longest === 0) return text;
    let shown = '';
    /** Up to here the text is hidden, and its rest is to be shown. */
    let end = 0;
    for (let at = 0; at <= text.length - MIN_SECRET; at += 1) {
      const length = lengthAt(text, at);
      if (length === 0) continue;
      // One that begins within another is hidden with it.
      if (at >= end) shown += text.slice(end, at) + HIDDEN;
      end = Math.max(end, at + length);
    }
    return end === 0 ? text : shown + text.slice(end);
  };
  return Object.assign(redact, { longest: lengthAt.longest });
}

function linesOf(secrets: Iterable<Buffer>): string[] {
  const lines = [...secrets].flatMap((bytes) => bytes.toString('utf8').split(/\r?\n/));
  return [...new Set(lines.map((line) => line.trim()))].filter((line) => line.length >= MIN_SECRET);
}

/** Gives the length of the longest of `wanted` that is in a text at a place; 0 = none. */
function createSearch(wanted: readonly string[]): { (text: string, at: number): number; readonly longest: number } {
  // By code units, as < compares.
  const sorted = wanted.toSorted((a, b) => (a < b ? -1 : 1));
  const longest = sorted.reduce((most, { length }) => Math.max(most, length), 0);
  const shorter = linkBeginnings(sorted);
  const isBeginning = new Uint8Array(2 ** 16);
  for (const line of sorted) isBeginning[hashBeginning(line, 0)] = 1;
  const search = (text: string, at: number): number => {
    if (isBeginning[hashBeginning(text, at)] === 0) return 0;
    const rest = text.slice(at, at + longest);
    // All that `rest` begins with sorts before it, and whatever sorts between the longest of these and it begins with that.
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle] as string) <= rest) low = middle + 1;
      else high = middle;
    }
    for (let index = low - 1; index >= 0; index = shorter[index] as number) {
      const line = sorted[index] as string;
      if (rest.startsWith(line)) return line.length;
    }
    return 0;
  };
  return Object.assign(search, { longest });
}

/** For each line of a sorted list the place of the longest other one that it begins with; -1 = none. */
function linkBeginnings(sorted: readonly string[]): number[] {
  const open: number[] = [];
  return sorted.map((line, index) => {
    while (open.length > 0 && !line.startsWith(sorted[open.at(-1) as number] as string)) open.pop();
    const found = open.at(-1) ?? -1;
    open.push(index);
    return found;
  });
}

/** Of the four characters at a place, in 16 bits. */
function hashBeginning(text: string, at: number): number {
  const [a, b, c, d] = [text.charCodeAt(at), text.charCodeAt(at + 1), text.charCodeAt(at + 2), text.charCodeAt(at + 3)];
  return ((a << 9) ^ (b << 6) ^ (c << 3) ^ d) & 0xffff;
}
