// The ranges of uploads, as the distribution specification writes them.
import type { ByteRange } from '../../lib/byte-range.ts';

/** The Content-Range of a chunk, `<first>-<last>`; docker's clients write a unit before it. 'invalid' for anything else. */
export function parseChunkRange(header: string | undefined): ByteRange | 'invalid' | undefined {
  if (header === undefined) return undefined;
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  if (!match) return 'invalid';
  const range = { start: Number(match[1]), end: Number(match[2]) };
  // An empty chunk has no last byte: it is written as one before its first.
  return range.end < range.start - 1 ? 'invalid' : range;
}
