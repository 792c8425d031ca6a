// From the bytes of a Dockerfile to its lines, with the limits that keep everything after it in linear time.
import { isUtf8 } from 'node:buffer';
import { dockerfileError } from './syntax-error.ts';

export const SOURCE_LIMITS = {
  /** Docker's. */
  lineBytes: 65_535,
  fileBytes: 16 * 1024 * 1024,
} as const;

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * The lines of a file, each with its line end (only the last may lack one), without a byte order mark. Throws Invalid
 * where the file is not UTF-8, has a NUL character or is beyond a limit.
 */
export function splitSource(source: Buffer, file: string): string[] {
  if (source.length > SOURCE_LIMITS.fileBytes) {
    const problem = `the file has ${source.length} bytes, the limit is ${SOURCE_LIMITS.fileBytes}`;
    throw dockerfileError(file, { line: 1, column: 1 }, problem);
  }
  const bytes = source.subarray(0, 3).equals(BYTE_ORDER_MARK) ? source.subarray(3) : source;
  if (!isUtf8(bytes)) throw notUtf8(bytes, file);
  const lines = bytes.toString('utf8').split('\n');
  const last = lines.pop() ?? '';
  for (let index = 0; index < lines.length; index += 1) lines[index] += '\n';
  if (last !== '') lines.push(last);
  for (const [index, line] of lines.entries()) checkLine(line, index + 1, file);
  return lines;
}

/** The line without its end, as Docker takes it: any number of carriage returns too. */
export function withoutLineEnd(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === '\n' || line[end - 1] === '\r')) end -= 1;
  return line.slice(0, end);
}

function checkLine(line: string, number: number, file: string): void {
  const nul = line.indexOf('\0');
  if (nul !== -1) throw dockerfileError(file, { line: number, column: nul + 1 }, 'NUL characters are not allowed');
  // A UTF-16 unit is at most three bytes of UTF-8.
  if (line.length * 3 <= SOURCE_LIMITS.lineBytes) return;
  const size = Buffer.byteLength(withoutLineEnd(line));
  if (size <= SOURCE_LIMITS.lineBytes) return;
  const problem = `the line has ${size} bytes, the limit is ${SOURCE_LIMITS.lineBytes}`;
  throw dockerfileError(file, { line: number, column: SOURCE_LIMITS.lineBytes + 1 }, problem);
}

function notUtf8(bytes: Buffer, file: string): Error {
  let line = 1;
  let start = 0;
  let end = bytes.indexOf(0x0a);
  while (end !== -1 && isUtf8(bytes.subarray(start, end))) {
    line += 1;
    start = end + 1;
    end = bytes.indexOf(0x0a, start);
  }
  const valid = validPrefix(bytes.subarray(start));
  return dockerfileError(file, { line, column: valid.length + 1 }, 'the file is not UTF-8');
}

// Whether a prefix is the beginning of UTF-8 falls only once with its length: halving finds where.
function validPrefix(bytes: Buffer): string {
  const decode = (length: number): string | undefined => {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
    } catch {
      return undefined;
    }
  };
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (decode(middle) === undefined) bad = middle;
    else good = middle;
  }
  return decode(good) ?? '';
}
