// A shared library in which every function says "not supported" (elf(5), "ELF gABI", "Linux Standard Base: symbol
// versioning"; 64 bits, little-endian). Two pages: what is only read or run, and the table that the dynamic linker writes to.
import type { Import } from './elf-imports.ts';

const PAGE = 4096;
const [SEGMENT_LOAD, SEGMENT_DYNAMIC, SEGMENT_STACK] = [1, 2, 0x6474e551] as const;
const [EXECUTE, WRITE, READ] = [1, 2, 4] as const;
const DYNAMIC = {
  ...{ texts: 5, symbols: 6, textBytes: 10, symbolBytes: 11, ownName: 14, hash: 0x6ffffef5 },
  ...{ symbolVersions: 0x6ffffff0, versions: 0x6ffffffc, versionCount: 0x6ffffffd },
} as const;
const SYMBOL_BYTES = 24;
const GLOBAL_FUNCTION = 0x12;
/** Versions that symbols can name: 0 is local, 1 the library itself. */
const FIRST_VERSION = 2;
const BASE_VERSION = 1;

/** Code that returns -ENOSYS, and the machine's number. */
const MACHINES = {
  x64: { number: 62, code: Buffer.from('b8daffffffc3', 'hex') },
  arm64: { number: 183, code: Buffer.from('a0048012c0035fd6', 'hex') },
} as const;

/**
 * The file of a library named `soname` with these functions; undefined for a machine that no code is known for. It is
 * found through DT_GNU_HASH, so that what it does not have is seen at one look.
 */
export function makeLibrary(soname: string, functions: readonly Import[], machine: string): Buffer | undefined {
  const target = machine === 'x64' || machine === 'arm64' ? MACHINES[machine] : undefined;
  if (!target || functions.length === 0) return undefined;
  const buckets = Math.ceil(functions.length / 2);
  // The hash table wants those of one bucket side by side.
  const symbols = functions.toSorted((a, b) => (gnuHash(a.name) % buckets) - (gnuHash(b.name) % buckets));
  const versions = [...new Set(symbols.map(({ version }) => version))];
  const texts = createTexts();
  const names = symbols.map(({ name }) => texts.add(name));
  const [ownName, versionNames] = [texts.add(soname), versions.map((version) => texts.add(version))];

  const pieces: Buffer[] = [];
  let end = 64 + 4 * 56;
  const place = (piece: Buffer): number => {
    const padding = -end & 7;
    pieces.push(Buffer.alloc(padding), piece);
    end += padding + piece.length;
    return end - piece.length;
  };
  const code = place(target.code);
  const table = place(
    Buffer.concat([Buffer.alloc(SYMBOL_BYTES), ...names.map((name) => symbol(name, code, target.code.length))]),
  );
  const numbers = symbols.map(({ version }) => FIRST_VERSION + versions.indexOf(version));
  const at = {
    symbols: table,
    texts: place(texts.bytes()),
    hash: place(
      hashTable(
        symbols.map(({ name }) => gnuHash(name)),
        buckets,
      ),
    ),
    symbolVersions: place(Buffer.from(Uint16Array.from([0, ...numbers]).buffer)),
    versions: place(
      Buffer.concat([
        versionDefinition(BASE_VERSION, soname, ownName, false),
        ...versions.map((version, index) =>
          versionDefinition(FIRST_VERSION + index, version, versionNames[index] ?? 0, index === versions.length - 1),
        ),
      ]),
    ),
  };
  if (end > PAGE) return undefined;
  const dynamic = words([
    ...[DYNAMIC.ownName, ownName, DYNAMIC.hash, at.hash, DYNAMIC.texts, at.texts, DYNAMIC.symbols, at.symbols],
    ...[DYNAMIC.textBytes, texts.bytes().length, DYNAMIC.symbolBytes, SYMBOL_BYTES],
    ...[DYNAMIC.symbolVersions, at.symbolVersions, DYNAMIC.versions, at.versions],
    ...[DYNAMIC.versionCount, versions.length + 1, 0, 0],
  ]);
  return Buffer.concat([
    header(target.number),
    segment(SEGMENT_LOAD, READ | EXECUTE, 0, end),
    segment(SEGMENT_LOAD, READ | WRITE, PAGE, dynamic.length),
    segment(SEGMENT_DYNAMIC, READ | WRITE, PAGE, dynamic.length),
    // Without it the stack of the whole program would become executable.
    segment(SEGMENT_STACK, READ | WRITE, 0, 0),
    ...pieces,
    Buffer.alloc(PAGE - end),
    dynamic,
  ]);
}

function createTexts(): { add(text: string): number; bytes(): Buffer } {
  let all = '\0';
  return {
    add(text) {
      const offset = all.length;
      all += `${text}\0`;
      return offset;
    },
    bytes: () => Buffer.from(all, 'latin1'),
  };
}

const words = (values: readonly number[]): Buffer => Buffer.from(BigUint64Array.from(values.map(BigInt)).buffer);

function header(machine: number): Buffer {
  const buffer = Buffer.alloc(64);
  buffer.write('\x7fELF\x02\x01\x01', 'latin1');
  // A shared object, for this machine, version 1; four segments after the header, no sections.
  for (const [offset, value] of [
    [16, 3],
    [18, machine],
    [20, 1],
    [52, 64],
    [54, 56],
    [56, 4],
    [58, 64],
  ] as const)
    buffer.writeUInt16LE(value, offset);
  buffer.writeBigUInt64LE(64n, 32);
  return buffer;
}

function segment(type: number, flags: number, offset: number, size: number): Buffer {
  const buffer = Buffer.alloc(56);
  buffer.writeUInt32LE(type, 0);
  buffer.writeUInt32LE(flags, 4);
  words([offset, offset, offset, size, size, PAGE]).copy(buffer, 8);
  return buffer;
}

function symbol(name: number, address: number, size: number): Buffer {
  const buffer = Buffer.alloc(SYMBOL_BYTES);
  buffer.writeUInt32LE(name, 0);
  buffer.writeUInt8(GLOBAL_FUNCTION, 4);
  // In a section, whichever: what matters is that it is there.
  buffer.writeUInt16LE(1, 6);
  words([address, size]).copy(buffer, 8);
  return buffer;
}

/** DT_GNU_HASH with one word of filter: hashes of the symbols after the first, in the order of their buckets. */
function hashTable(hashes: readonly number[], buckets: number): Buffer {
  const shift = 6;
  const filter = hashes.reduce(
    (bits, hash) => bits | (1n << BigInt(hash % 64)) | (1n << BigInt((hash >>> shift) % 64)),
    0n,
  );
  const bucketOf = (hash: number | undefined): number => (hash === undefined ? -1 : hash % buckets);
  const firsts = Array.from(
    { length: buckets },
    (_, bucket) => 1 + hashes.findIndex((hash) => bucketOf(hash) === bucket),
  );
  // The last one of a bucket has the lowest bit set.
  const chain = hashes.map((hash, index) =>
    bucketOf(hashes[index + 1]) === bucketOf(hash) ? (hash & ~1) >>> 0 : (hash | 1) >>> 0,
  );
  return Buffer.concat([
    Buffer.from(Uint32Array.from([buckets, 1, 1, shift]).buffer),
    Buffer.from(BigUint64Array.from([filter]).buffer),
    Buffer.from(Uint32Array.from([...firsts, ...chain]).buffer),
  ]);
}

function versionDefinition(number: number, name: string, nameOffset: number, isLast: boolean): Buffer {
  const buffer = Buffer.alloc(28);
  // Structure version 1, the flag of the library's own, number, one name.
  for (const [index, value] of [1, number === BASE_VERSION ? 1 : 0, number, 1].entries())
    buffer.writeUInt16LE(value, index * 2);
  buffer.writeUInt32LE(elfHash(name), 8);
  buffer.writeUInt32LE(20, 12);
  buffer.writeUInt32LE(isLast ? 0 : buffer.length, 16);
  buffer.writeUInt32LE(nameOffset, 20);
  return buffer;
}

/** The hash of symbols (djb2). */
function gnuHash(name: string): number {
  return Buffer.from(name).reduce((hash, byte) => (Math.imul(hash, 33) + byte) >>> 0, 5381);
}

/** The hash of versions (System V). */
function elfHash(name: string): number {
  let hash = 0;
  for (const byte of Buffer.from(name)) {
    hash = ((hash << 4) + byte) >>> 0;
    const high = hash & 0xf0000000;
    hash = ((hash ^ (high >>> 24)) & ~high) >>> 0;
  }
  return hash;
}
