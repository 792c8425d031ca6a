// Durations in Go's notation (`1m30s`, `500ms`), which HEALTHCHECK takes and the history of images shows.

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const PART = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)/y;

/** Nanoseconds of a duration; undefined for what is none, is negative or beyond what a number holds exactly. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  let total = 0;
  let at = text.startsWith('+') ? 1 : 0;
  if (at === text.length) return undefined;
  while (at < text.length) {
    PART.lastIndex = at;
    const [part, amount = '', unit = ''] = PART.exec(text) ?? [];
    if (part === undefined) return undefined;
    total += Number(amount) * (UNITS[unit] ?? 0);
    at += part.length;
  }
  const rounded = Math.trunc(total);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

/** The way Go prints one: `0s`, `1.5s`, `1m0s`. */
export function formatDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const seconds = Math.floor(nanoseconds / 1e9);
  const fraction = String(nanoseconds % 1e9)
    .padStart(9, '0')
    .replace(/0+$/, '');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const largest = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : '';
  return `${largest}${seconds % 60}${fraction === '' ? '' : `.${fraction}`}s`;
}
