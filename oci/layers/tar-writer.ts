// Writes tar headers: ustar where it fits, a PAX header before it where it does not. Names are byte strings.
import { BLOCK } from './tar-header.ts';

export interface TarHeaderFields {
  readonly name: string;
  readonly type: 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';
  readonly size?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: { readonly seconds: number; readonly nanoseconds: number };
  readonly linkName?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: ReadonlyMap<string, Buffer>;
}

const FLAGS = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' } as const;

/** Of a block, up to the prefix of the name, which is never used. */
const USED_BYTES = 345;

/** The header blocks of one entry; content (padded by paddingFor()) follows them. */
export function encodeTarHeader(fields: TarHeaderFields): Buffer {
  const pax: [string, Buffer][] = [];
  const size = fields.size ?? 0;
  const seconds = fields.mtime?.seconds ?? 0;
  const nanoseconds = fields.mtime?.nanoseconds ?? 0;
  if (fields.name.length > 100 || !isAscii(fields.name)) pax.push(['path', latin1(fields.name)]);
  const linkName = fields.linkName ?? '';
  if (linkName.length > 100 || !isAscii(linkName)) pax.push(['linkpath', latin1(linkName)]);
  if (size > 0o77777777777) pax.push(['size', latin1(String(size))]);
  if ((fields.uid ?? 0) > 0o7777777) pax.push(['uid', latin1(String(fields.uid))]);
  if ((fields.gid ?? 0) > 0o7777777) pax.push(['gid', latin1(String(fields.gid))]);
  if (nanoseconds !== 0 || seconds < 0 || seconds > 0o77777777777) {
    pax.push(['mtime', latin1(decimalTime(seconds, nanoseconds))]);
  }
  for (const [name, value] of fields.xattrs ?? []) pax.push([`SCHILY.xattr.${name}`, value]);
  const main = encodeBlock(FLAGS[fields.type], fields, size, Math.max(seconds, 0));
  if (pax.length === 0) return main;
  const body = Buffer.concat(pax.map(([key, value]) => paxRecord(key, value)));
  const name = `PaxHeaders/${fields.name.slice(-80)}`;
  return Buffer.concat([
    encodeBlock('x', { name, type: 'file', mode: 0o644 }, body.length, 0),
    body,
    paddingFor(body.length),
    main,
  ]);
}

/** Zeros up to the next block after `size` bytes. */
export function paddingFor(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The two empty blocks that end an archive. */
export function endOfArchive(): Buffer {
  return Buffer.alloc(BLOCK * 2);
}

function encodeBlock(flag: string, fields: TarHeaderFields, size: number, seconds: number): Buffer {
  // Small ones come out of a pool, which alloc() does not use.
  const block = Buffer.allocUnsafe(BLOCK).fill(0);
  block.write(fields.name.slice(0, 100), 0, 100, 'latin1');
  writeOctal(block, 100, 8, fields.mode ?? 0);
  writeOctal(block, 108, 8, Math.min(fields.uid ?? 0, 0o7777777));
  writeOctal(block, 116, 8, Math.min(fields.gid ?? 0, 0o7777777));
  writeOctal(block, 124, 12, Math.min(size, 0o77777777777));
  writeOctal(block, 136, 12, Math.min(seconds, 0o77777777777));
  block.write(flag, 156, 'latin1');
  block.write((fields.linkName ?? '').slice(0, 100), 157, 100, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  writeOctal(block, 329, 8, fields.major ?? 0);
  writeOctal(block, 337, 8, fields.minor ?? 0);
  block.fill(32, 148, 156);
  let sum = 0;
  for (let index = 0; index < USED_BYTES; index += 1) sum += block[index] as number;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function writeOctal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, length, 'latin1');
}

/** The record's length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.concat([latin1(`${length} ${key}=`), value, latin1('\n')]);
}

function decimalTime(seconds: number, nanoseconds: number): string {
  if (seconds >= 0) return `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
  const total = -(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
  return `-${total / 1_000_000_000n}.${String(total % 1_000_000_000n).padStart(9, '0')}`;
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);
