// Where the last N lines of a log file begin, found by reading blocks from the end.
import type { FileHandle } from 'node:fs/promises';
import { parseLogLine } from './log-line.ts';

const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Offset at which the last `lines` whole lines of the first `size` bytes begin, and how many there are when the file
 * has fewer. An entry tagged P is one line with the entries after it, as a reader sees it.
 */
export async function findTailOffset(
  file: FileHandle,
  size: number,
  lines: number,
): Promise<{ offset: number; found: number }> {
  let found = 0;
  let end = size;
  let carry: Buffer = Buffer.alloc(0);
  while (end > 0) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const block = Buffer.alloc(end - start);
    await file.read(block, 0, block.length, start);
    const data = Buffer.concat([block, carry]);
    // Without a newline before it the first piece may go on in the block before.
    const firstNewline = start === 0 ? -1 : data.indexOf(NEWLINE);
    const from = start === 0 ? 0 : firstNewline + 1;
    if (start > 0 && firstNewline < 0) {
      carry = data;
      end = start;
      continue;
    }
    let lineEnd = data.length;
    while (lineEnd > from) {
      const terminated = data[lineEnd - 1] === NEWLINE;
      const textEnd = terminated ? lineEnd - 1 : lineEnd;
      const previous = textEnd > from ? data.lastIndexOf(NEWLINE, textEnd - 1) : from - 1;
      const lineStart = Math.max(previous + 1, from);
      const line = parseLogLine(data.subarray(lineStart, textEnd));
      if (line && !line.partial) {
        if (found === lines) return { offset: start + lineEnd, found };
        found += 1;
      }
      lineEnd = lineStart;
    }
    carry = data.subarray(0, from);
    end = start;
  }
  return { offset: 0, found };
}
