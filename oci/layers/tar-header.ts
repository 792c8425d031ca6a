// One 512-byte tar header block: ustar, GNU and old V7 forms. Text fields are kept as byte strings (latin1: one
// character per byte), because names in a tar need not be UTF-8 and must reach the disk unchanged.
import { WindlassError } from '../../lib/errors.ts';

export const BLOCK = 512;

export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

export interface TarEntry {
  /** Byte string, as written in the archive. */
  readonly name: string;
  readonly type: TarEntryType;
  /** Bytes of content after a sparse file's holes are filled in. */
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number };
  /** Byte string; target of a link. */
  readonly linkName: string;
  readonly major: number;
  readonly minor: number;
  /** Names are byte strings, values raw bytes. */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Where content lies in a sparse file; undefined for a plain one. */
  readonly sparse?: readonly { readonly offset: number; readonly length: number }[];
  /** Position of the stored content in the archive. */
  readonly dataOffset: number;
}

export interface RawHeader {
  readonly typeFlag: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

/** The error for an archive that is not what tar says it should be. */
export function tarError(problem: string): WindlassError {
  return new WindlassError('Invalid', `invalid tar: ${problem}`);
}

/** Decodes the header block at `offset`; undefined for a block of zeros (end of the archive). */
export function decodeHeader(block: Buffer, offset: number): RawHeader | undefined {
  let sum = 0;
  for (let index = 0; index < BLOCK; index += 1) {
    sum += index >= 148 && index < 156 ? 32 : (block[offset + index] as number);
  }
  // 256 is the sum of the eight spaces that stand in for the checksum field itself.
  if (sum === 256 && block[offset + 148] === 0) return undefined;
  const stored = Number.parseInt(block.toString('latin1', offset + 148, offset + 156).trim(), 8);
  if (stored !== sum && stored !== signedSum(block, offset)) throw tarError('header checksum does not match');
  const magic = block.toString('latin1', offset + 257, offset + 265);
  const isUstar = magic === 'ustar\x0000';
  const isKnown = magic.startsWith('ustar');
  const prefix = isUstar ? text(block, offset + 345, 155) : '';
  const name = text(block, offset, 100);
  return {
    typeFlag: String.fromCharCode(block[offset + 156] as number),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: text(block, offset + 157, 100),
    mode: number(block, offset + 100, 8),
    uid: number(block, offset + 108, 8),
    gid: number(block, offset + 116, 8),
    size: number(block, offset + 124, 12),
    mtime: number(block, offset + 136, 12),
    major: isKnown ? number(block, offset + 329, 8) : 0,
    minor: isKnown ? number(block, offset + 337, 8) : 0,
  };
}

/** A numeric field: octal text, or base-256 when the first byte's high bit is set. */
export function number(block: Buffer, start: number, length: number): number {
  const first = block[start] as number;
  if (first & 0x80) {
    const negative = (first & 0x40) !== 0;
    let value = negative ? BigInt.asIntN(7, BigInt(first & 0x7f)) : BigInt(first & 0x3f);
    for (let index = 1; index < length; index += 1) value = value * 256n + BigInt(block[start + index] as number);
    const result = Number(value);
    if (!Number.isSafeInteger(result)) throw tarError('number out of range');
    return result;
  }
  let value = 0;
  let seen = false;
  for (let index = 0; index < length; index += 1) {
    const code = block[start + index] as number;
    if (code === 0 || code === 32) {
      if (seen) break;
      continue;
    }
    if (code < 48 || code > 55) throw tarError('number is not octal');
    value = value * 8 + (code - 48);
    seen = true;
  }
  return value;
}

function text(block: Buffer, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end += 1;
  return block.toString('latin1', start, end);
}

/** Some old writers summed signed bytes. */
function signedSum(block: Buffer, offset: number): number {
  let sum = 0;
  for (let index = 0; index < BLOCK; index += 1) {
    const byte = index >= 148 && index < 156 ? 32 : (block[offset + index] as number);
    sum += byte > 127 ? byte - 256 : byte;
  }
  return sum;
}
