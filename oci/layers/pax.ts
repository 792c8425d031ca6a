// PAX extended headers (`LENGTH KEY=VALUE\n` records) and the sparse maps that GNU tar writes with or without them.
import { tarError } from './tar-header.ts';

/** Keys are byte strings; values are raw, since an xattr may be any bytes. */
export type PaxRecords = Map<string, Buffer>;

export interface SparseRegion {
  readonly offset: number;
  readonly length: number;
}

/** Longest sparse map that is accepted. */
const MAX_REGIONS = 100_000;

/** Parses the body of a PAX header; repeated keys of GNU's sparse format 0.0 are gathered into `GNU.sparse.map`. */
export function parsePax(body: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  const sparse: string[] = [];
  let position = 0;
  while (position < body.length) {
    const space = body.indexOf(32, position);
    const digits = space === -1 ? '' : body.toString('latin1', position, space);
    if (!/^[0-9]{1,9}$/.test(digits)) throw tarError('PAX record has no length');
    const end = position + Number(digits);
    if (end > body.length || end <= space + 1 || body[end - 1] !== 10) throw tarError('PAX record has a wrong length');
    const equals = body.indexOf(61, space);
    if (equals === -1 || equals >= end) throw tarError('PAX record has no value');
    const key = body.toString('latin1', space + 1, equals);
    const value = body.subarray(equals + 1, end - 1);
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') sparse.push(value.toString('latin1'));
    // An empty value cancels what an earlier (global) header said.
    else if (value.length === 0 && !key.startsWith('SCHILY.xattr.')) records.delete(key);
    else records.set(key, Buffer.from(value));
    position = end;
  }
  if (sparse.length > 0) records.set('GNU.sparse.map', Buffer.from(sparse.join(',')));
  return records;
}

/** A decimal number of a PAX record that must be a whole number of 0 or more. */
export function paxNumber(value: Buffer, key: string): number {
  const text = value.toString('latin1');
  const parsed = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(parsed)) throw tarError(`PAX ${key} is not a size`);
  return parsed;
}

/** `1700000000.123456789`, also negative, as whole seconds and nanoseconds from there upwards. */
export function paxTime(value: Buffer, key: string): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value.toString('latin1', 0, 64));
  if (!match) throw tarError(`PAX ${key} is not a time`);
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] !== '-') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: -seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}

/** Pairs `offset,length,offset,length,...` of the formats 0.0 and 0.1. */
export function parseSparsePairs(text: string): SparseRegion[] {
  const numbers = text.split(',', MAX_REGIONS * 2 + 1);
  if (numbers.length > MAX_REGIONS * 2) throw tarError('sparse map is too long');
  if (numbers.length % 2 !== 0) throw tarError('sparse map is not made of pairs');
  const regions: SparseRegion[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    regions.push({
      offset: sparseNumber(numbers[index] as string),
      length: sparseNumber(numbers[index + 1] as string),
    });
  }
  return regions;
}

/** Regions must be in order, apart, and within the file; their lengths must add up to what is stored. */
export function checkSparse(regions: readonly SparseRegion[], realSize: number, storedSize: number): void {
  let end = 0;
  let stored = 0;
  for (const { offset, length } of regions) {
    if (offset < end) throw tarError('sparse regions overlap');
    end = offset + length;
    stored += length;
    if (end > realSize) throw tarError('sparse region lies behind the end of the file');
  }
  if (stored !== storedSize) throw tarError('sparse map does not match the stored size');
}

export function sparseNumber(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw tarError('sparse map has an invalid number');
  return value;
}

export { MAX_REGIONS };
