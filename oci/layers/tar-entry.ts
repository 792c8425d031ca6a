// What a header block and the extended headers before it say together about one entry.
import { checkSparse, paxNumber, paxTime, type PaxRecords, type SparseRegion } from './pax.ts';
import { tarError, type RawHeader, type TarEntry, type TarEntryType } from './tar-header.ts';

/** Longest path the kernel takes. */
const MAX_PATH_BYTES = 4096;
const XATTR_PREFIX = 'SCHILY.xattr.';

/** Entry type by type flag; other flags are extended headers or not supported. */
export const ENTRY_TYPES: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

export interface EntryContext {
  /** The value of a PAX record that applies to the entry. */
  readonly pax: (key: string) => Buffer | undefined;
  readonly xattrs: ReadonlyMap<string, Buffer>;
  readonly longName: string | undefined;
  readonly longLink: string | undefined;
  readonly map: readonly SparseRegion[] | undefined;
  readonly storedBytes: number;
  readonly dataOffset: number;
}

/** Puts an entry together and checks what must hold for every one: names, owner, sparse map. */
export function describeEntry(raw: RawHeader, context: EntryContext): TarEntry {
  const { pax, map } = context;
  const name = (pax('GNU.sparse.name') ?? pax('path'))?.toString('latin1') ?? context.longName ?? raw.name;
  const linkName = pax('linkpath')?.toString('latin1') ?? context.longLink ?? raw.linkName;
  checkName(name);
  if (linkName !== '') checkName(linkName);
  let type = ENTRY_TYPES[raw.typeFlag] as TarEntryType;
  if (type === 'file' && name.endsWith('/')) type = 'directory';
  if (map !== undefined && type !== 'file') throw tarError('only a file can be sparse');
  const realSize = pax('GNU.sparse.realsize') ?? pax('GNU.sparse.size');
  const sparseSize = realSize === undefined ? raw.size : paxNumber(realSize, 'GNU.sparse.realsize');
  const size = map === undefined ? context.storedBytes : sparseSize;
  if (map !== undefined) checkSparse(map, size, context.storedBytes);
  const uid = pax('uid');
  const gid = pax('gid');
  const mtime = pax('mtime');
  return {
    name,
    type,
    size,
    mode: raw.mode & 0o7777,
    uid: checkId(uid === undefined ? raw.uid : paxNumber(uid, 'uid'), 'uid'),
    gid: checkId(gid === undefined ? raw.gid : paxNumber(gid, 'gid'), 'gid'),
    mtime: mtime === undefined ? { seconds: raw.mtime, nanoseconds: 0 } : paxTime(mtime, 'mtime'),
    linkName,
    major: raw.major,
    minor: raw.minor,
    xattrs: context.xattrs,
    ...(map === undefined ? {} : { sparse: map }),
    dataOffset: context.dataOffset,
  };
}

/** The extended attributes in `headers`; a later header wins. */
export function xattrsOf(headers: readonly (PaxRecords | undefined)[]): ReadonlyMap<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const records of headers) {
    for (const [key, value] of records ?? []) {
      if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value);
    }
  }
  return xattrs;
}

/** -1 would mean "leave as it is" to chown. */
function checkId(id: number, what: string): number {
  if (id < 0 || id >= 0xffff_ffff) throw tarError(`${what} ${id} is out of range`);
  return id;
}

function checkName(name: string): void {
  if (name === '') throw tarError('entry has no name');
  if (name.includes('\0')) throw tarError('name contains a NUL byte');
  if (name.length > MAX_PATH_BYTES) throw tarError(`name has ${name.length} bytes, the limit is ${MAX_PATH_BYTES}`);
}
