// The Range header of one range, RFC 9110 section 14.

export interface ByteRange {
  /** Both included. */
  readonly start: number;
  readonly end: number;
}

/**
 * The part of `sizeBytes` that a Range header asks for. Undefined = everything: no header, another unit, several
 * ranges or nonsense, all of which a server may ignore.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))$/.exec(header?.trim() ?? '');
  if (!match) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const start = Number(first);
  const end = last ? Math.min(Number(last), sizeBytes - 1) : sizeBytes - 1;
  return start >= sizeBytes || end < start ? 'unsatisfiable' : { start, end };
}
