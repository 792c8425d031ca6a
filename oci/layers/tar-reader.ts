// A streaming tar reader: bytes are pushed in, entries and their content come out at once, nothing but one header
// (bounded) is ever held. Reads ustar, PAX, GNU long names and the four forms of sparse files.
import { describeEntry, ENTRY_TYPES, xattrsOf } from './tar-entry.ts';
import { BLOCK, decodeHeader, number, tarError, type RawHeader, type TarEntry } from './tar-header.ts';
import {
  MAX_REGIONS,
  parsePax,
  parseSparsePairs,
  paxNumber,
  sparseNumber,
  type PaxRecords,
  type SparseRegion,
} from './pax.ts';

/** Takes the content of one entry. `position` is where the bytes belong in the file (sparse files leave holes). */
export interface TarSink {
  write(chunk: Buffer, position: number): void;
  end(): void;
}

export interface TarReader {
  write(chunk: Buffer): void;
  /** The archive has no more bytes: throws when an entry is cut off. */
  end(): void;
}

const MAX_PAX_BYTES = 1024 * 1024;
const MAX_LONG_NAME_BYTES = 64 * 1024;
/** Builds a reader that calls `onEntry` for each entry; content goes to the sink it returns (undefined = skip). */
export function createTarReader(onEntry: (entry: TarEntry) => TarSink | undefined): TarReader {
  const block = Buffer.alloc(BLOCK);
  let blockFill = 0;
  let position = 0;
  let state: 'header' | 'meta' | 'sparse' | 'data' | 'padding' | 'end' = 'header';
  let zeroBlocks = 0;

  let metaFlag = '';
  let meta = Buffer.alloc(0);
  let metaFill = 0;
  let metaPadding = 0;

  const globals: PaxRecords = new Map();
  let local: PaxRecords | undefined;
  let longName: string | undefined;
  let longLink: string | undefined;

  let header: RawHeader | undefined;
  let stored = 0;
  let padding = 0;
  let regions: SparseRegion[] = [];
  let sparseText = '';
  let sparseWant = -1;
  let sparsePending: number[] = [];
  let sink: TarSink | undefined;
  let sparse: readonly SparseRegion[] | undefined;
  let regionIndex = 0;
  let regionDone = 0;

  const pax = (key: string): Buffer | undefined => local?.get(key) ?? globals.get(key);

  function startHeader(source: Buffer, offset: number): void {
    const raw = decodeHeader(source, offset);
    if (raw === undefined) {
      zeroBlocks += 1;
      if (zeroBlocks === 2) state = 'end';
      return;
    }
    if (zeroBlocks > 0) throw tarError('data after the end mark');
    if (raw.size < 0) throw tarError(`entry ${JSON.stringify(raw.name)} has a negative size`);
    if ('xgLK'.includes(raw.typeFlag)) {
      startMeta(raw);
      return;
    }
    header = raw;
    if (raw.typeFlag === 'V') {
      startData(raw.size, undefined, undefined);
      return;
    }
    if (ENTRY_TYPES[raw.typeFlag] === undefined)
      throw tarError(`unsupported entry type ${JSON.stringify(raw.typeFlag)}`);
    regions = [];
    if (raw.typeFlag === 'S') {
      readOldSparse(source, offset + 386, 4);
      const isExtended = source[offset + 482] !== 0;
      stored = raw.size;
      header = { ...raw, size: number(source, offset + 483, 12) };
      if (isExtended) state = 'sparse';
      else startEntry(regions);
    } else if (pax('GNU.sparse.major')?.toString('latin1') === '1') {
      stored = storedSize(raw);
      sparseText = '';
      sparseWant = -1;
      state = 'sparse';
    } else {
      stored = storedSize(raw);
      const map = pax('GNU.sparse.map');
      startEntry(map === undefined ? undefined : parseSparsePairs(map.toString('latin1')));
    }
  }

  function storedSize(raw: RawHeader): number {
    if (ENTRY_TYPES[raw.typeFlag] !== 'file') return 0;
    const size = pax('size');
    return size === undefined ? raw.size : paxNumber(size, 'size');
  }

  function startMeta(raw: RawHeader): void {
    const isPax = raw.typeFlag === 'x' || raw.typeFlag === 'g';
    const limit = isPax ? MAX_PAX_BYTES : MAX_LONG_NAME_BYTES;
    if (raw.size > limit) {
      throw tarError(`${isPax ? 'PAX header' : 'long name'} has ${raw.size} bytes, the limit is ${limit}`);
    }
    metaFlag = raw.typeFlag;
    meta = Buffer.alloc(raw.size);
    metaFill = 0;
    metaPadding = (BLOCK - (raw.size % BLOCK)) % BLOCK;
    state = 'meta';
    if (raw.size === 0) finishMeta();
  }

  function finishMeta(): void {
    if (metaFlag === 'x') local = parsePax(meta);
    else if (metaFlag === 'g') for (const [key, value] of parsePax(meta)) globals.set(key, value);
    else {
      const nul = meta.indexOf(0);
      const name = meta.toString('latin1', 0, nul === -1 ? meta.length : nul);
      if (metaFlag === 'L') longName = name;
      else longLink = name;
    }
    padding = metaPadding;
    state = padding > 0 ? 'padding' : 'header';
  }

  function readOldSparse(source: Buffer, start: number, count: number): void {
    for (let index = 0; index < count; index += 1) {
      const at = start + index * 24;
      if (source[at] === 0 || source[at + 12] === 0) return;
      if (regions.length >= MAX_REGIONS) throw tarError('sparse map is too long');
      regions.push({ offset: number(source, at, 12), length: number(source, at + 12, 12) });
    }
  }

  /** One block of a sparse map that lies outside the header: GNU's old form, or the text of PAX format 1.0. */
  function moreSparse(source: Buffer, offset: number): void {
    if (header?.typeFlag === 'S') {
      readOldSparse(source, offset, 21);
      if (source[offset + 504] === 0) startEntry(regions);
      return;
    }
    if (stored < BLOCK) throw tarError('sparse map is cut off');
    stored -= BLOCK;
    const lines = (sparseText + source.toString('latin1', offset, offset + BLOCK)).split('\n');
    sparseText = lines.pop() ?? '';
    if (sparseText.length > BLOCK) throw tarError('sparse map has an invalid number');
    for (const line of lines) {
      if (sparseWant === -1) {
        sparseWant = sparseNumber(line);
        if (sparseWant > MAX_REGIONS) throw tarError('sparse map is too long');
        sparsePending = [];
      } else {
        sparsePending.push(sparseNumber(line));
      }
      if (sparsePending.length === sparseWant * 2) {
        for (let index = 0; index < sparsePending.length; index += 2) {
          regions.push({ offset: sparsePending[index] as number, length: sparsePending[index + 1] as number });
        }
        startEntry(regions);
        return;
      }
    }
  }
  function startEntry(map: readonly SparseRegion[] | undefined): void {
    const entry = describeEntry(header as RawHeader, {
      pax: (key) => pax(key),
      xattrs: xattrsOf([globals, local]),
      longName,
      longLink,
      map,
      storedBytes: stored,
      dataOffset: position,
    });
    local = undefined;
    longName = undefined;
    longLink = undefined;
    startData(stored, onEntry(entry), entry.sparse);
  }

  function startData(size: number, to: TarSink | undefined, map: readonly SparseRegion[] | undefined): void {
    stored = size;
    padding = (BLOCK - (size % BLOCK)) % BLOCK;
    sink = to;
    sparse = map;
    regionIndex = 0;
    regionDone = 0;
    state = 'data';
    if (size === 0) finishData();
  }

  function finishData(): void {
    sink?.end();
    sink = undefined;
    state = padding > 0 ? 'padding' : 'header';
  }

  function deliver(chunk: Buffer, total: number): void {
    if (sink === undefined) return;
    if (sparse === undefined) {
      sink.write(chunk, total);
      return;
    }
    let used = 0;
    while (used < chunk.length) {
      const region = sparse[regionIndex] as SparseRegion;
      const take = Math.min(region.length - regionDone, chunk.length - used);
      if (take > 0) sink.write(chunk.subarray(used, used + take), region.offset + regionDone);
      used += take;
      regionDone += take;
      if (regionDone === region.length) {
        regionIndex += 1;
        regionDone = 0;
      }
    }
  }

  let dataDone = 0;
  return {
    write(chunk) {
      let offset = 0;
      while (offset < chunk.length) {
        const left = chunk.length - offset;
        if (state === 'end') {
          position += left;
          return;
        }
        if (state === 'header' || state === 'sparse') {
          let source = chunk;
          let at = offset;
          if (blockFill > 0 || left < BLOCK) {
            const take = Math.min(BLOCK - blockFill, left);
            chunk.copy(block, blockFill, offset, offset + take);
            blockFill += take;
            position += take;
            offset += take;
            if (blockFill < BLOCK) continue;
            blockFill = 0;
            source = block;
            at = 0;
          } else {
            offset += BLOCK;
            position += BLOCK;
          }
          dataDone = 0;
          if (state === 'header') startHeader(source, at);
          else moreSparse(source, at);
        } else if (state === 'meta') {
          const take = Math.min(meta.length - metaFill, left);
          chunk.copy(meta, metaFill, offset, offset + take);
          metaFill += take;
          offset += take;
          position += take;
          if (metaFill === meta.length) finishMeta();
        } else if (state === 'data') {
          const take = Math.min(stored - dataDone, left);
          deliver(take === left && offset === 0 ? chunk : chunk.subarray(offset, offset + take), dataDone);
          dataDone += take;
          offset += take;
          position += take;
          if (dataDone === stored) finishData();
        } else {
          const take = Math.min(padding, left);
          padding -= take;
          offset += take;
          position += take;
          if (padding === 0) state = 'header';
        }
      }
    },
    end() {
      if (state === 'end' || (state === 'header' && blockFill === 0 && local === undefined)) return;
      throw tarError('archive is cut off');
    },
  };
}
