// Fields of stat(2) in the form that tar has them.

/** Seconds of a time, rounded down. */
export function wholeSeconds(ns: bigint): number {
  const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return Number((ns - rest) / 1_000_000_000n);
}

/** Linux's 12 + 20 bit numbers of a device. */
export function deviceNumbers(rdev: bigint): { major: number; minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)),
  };
}
