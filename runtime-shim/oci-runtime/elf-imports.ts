// What a program asks of one shared library, read from its file (elf(5); 64 bits, little-endian).

export interface Import {
  readonly name: string;
  /** The version of the library's that it was linked with. */
  readonly version: string;
}

const MAGIC = 0x464c457f;
const [CLASS_64, LITTLE_ENDIAN] = [2, 1];
const SECTION = { dynamicSymbols: 11, versionNeeds: 0x6ffffffe, symbolVersions: 0x6fffffff } as const;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
const FUNCTION = 2;
const HIDDEN_BIT = 0x8000;

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  /** Index of the section with its texts. */
  readonly link: number;
  readonly info: number;
}

/**
 * The functions that the program takes from `library` (`libx.so.0`), with their versions; empty when it takes none. Undefined
 * for a file that is no such program, and for one that takes anything but functions of a version from there.
 */
export function readImports(file: Buffer, library: string): readonly Import[] | undefined {
  try {
    return parseImports(file, library);
  } catch (error) {
    // Cut off, or full of offsets that lead nowhere.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function parseImports(file: Buffer, library: string): readonly Import[] | undefined {
  if (file.readUInt32LE(0) !== MAGIC || file[4] !== CLASS_64 || file[5] !== LITTLE_ENDIAN) return undefined;
  const sections = readSections(file);
  const of = (type: number): Section | undefined => sections.find((section) => section.type === type);
  const [symbols, versions, needs] = [of(SECTION.dynamicSymbols), of(SECTION.symbolVersions), of(SECTION.versionNeeds)];
  if (!symbols || !versions || !needs) return [];
  const wanted = versionsOf(file, needs, sections[needs.link]?.offset ?? 0, library);
  const texts = sections[symbols.link]?.offset ?? 0;
  const imports: Import[] = [];
  for (let index = 0; index < symbols.size / SYMBOL_BYTES; index += 1) {
    const version = wanted.get(file.readUInt16LE(versions.offset + index * 2) & ~HIDDEN_BIT);
    if (version === undefined) continue;
    const symbol = symbols.offset + index * SYMBOL_BYTES;
    if ((file.readUInt8(symbol + 4) & 0xf) !== FUNCTION) return undefined;
    imports.push({ name: textAt(file, texts + file.readUInt32LE(symbol)), version });
  }
  return imports;
}

function readSections(file: Buffer): Section[] {
  const [start, count] = [Number(file.readBigUInt64LE(40)), file.readUInt16LE(60)];
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * SECTION_BYTES;
    return {
      type: file.readUInt32LE(at + 4),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
      link: file.readUInt32LE(at + 40),
      info: file.readUInt32LE(at + 44),
    };
  });
}

/** The versions of `library` by the number that symbols name them with. */
function versionsOf(file: Buffer, needs: Section, texts: number, library: string): Map<number, string> {
  const found = new Map<number, string>();
  let need = needs.offset;
  for (let index = 0; index < needs.info; index += 1) {
    const isIt = textAt(file, texts + file.readUInt32LE(need + 4)) === library;
    let one = need + file.readUInt32LE(need + 8);
    for (let count = file.readUInt16LE(need + 2); isIt && count > 0; count -= 1) {
      found.set(file.readUInt16LE(one + 6), textAt(file, texts + file.readUInt32LE(one + 8)));
      one += file.readUInt32LE(one + 12);
    }
    need += file.readUInt32LE(need + 12);
  }
  return found;
}

function textAt(file: Buffer, offset: number): string {
  const end = file.indexOf(0, offset);
  if (end < 0) throw new RangeError('a text without an end');
  return file.toString('latin1', offset, end);
}
