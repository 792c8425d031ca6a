// Ranges of host ids for Containers with a user namespace of their own. A range is the Container's for its whole life on
// this node: what it wrote is stored with these ids, and outlives its runs and a reboot.
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, WindlassError } from '../../../lib/errors.ts';
import { replaceFile } from '../../../lib/replace-file.ts';

/** Ids in a range: what programs and images expect to be there. */
export const RANGE_SIZE = 65_536;
/** The first range: above what /etc/subuid gives to people's accounts and what network accounts use. */
export const FIRST_ID = 0x1000_0000;
/** Ids stay below 2^31, which programs store as signed numbers; the runtime's trial uses the last but few. */
const MAX_RANGES = (0x7ff0_0000 - FIRST_ID) / RANGE_SIZE;

export interface UserRange {
  readonly hostId: number;
  readonly length: number;
}

export interface UserRanges {
  /** The Container's range, taken when it is asked for first. Unavailable when none is left. */
  rangeOf(containerUid: string): UserRange;
  /** Gives a range back; none taken = nothing. */
  release(containerUid: string): void;
  /** Gives back the ranges of all Containers but these. */
  keepOnly(containerUids: ReadonlySet<string>): void;
}

/** Opens the table in `file`: Container UID -> number of its range. It is on disk before a range is told. */
export function openUserRanges(file: string): UserRanges {
  const taken = new Map<string, number>(Object.entries(read(file)));

  function save(): void {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    replaceFile(file, JSON.stringify(Object.fromEntries(taken)), { flush: true });
  }
  function findFree(): number {
    const used = new Set(taken.values());
    for (let index = 0; index < MAX_RANGES; index += 1) if (!used.has(index)) return index;
    throw new WindlassError('Unavailable', `all ${MAX_RANGES} ranges of user ids are taken`);
  }

  return {
    rangeOf(containerUid) {
      let index = taken.get(containerUid);
      if (index === undefined) {
        index = findFree();
        taken.set(containerUid, index);
        save();
      }
      return { hostId: FIRST_ID + index * RANGE_SIZE, length: RANGE_SIZE };
    },
    release(containerUid) {
      if (taken.delete(containerUid)) save();
    },
    keepOnly(containerUids) {
      const gone = [...taken.keys()].filter((uid) => !containerUids.has(uid));
      for (const uid of gone) taken.delete(uid);
      if (gone.length > 0) save();
    },
  };
}

function read(file: string): Record<string, number> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return {};
    throw error;
  }
}
