// What stays free on the disk of the state folder for the node itself.
import { statfsSync, type StatsFs } from 'node:fs';
import { diskShortage, type DiskReserve } from '../../lib/disk-reserve.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { DiskUse } from './measuring-plan.ts';

/** What the file system of `folder` has in use. */
export function diskUse(folder: string): DiskUse {
  const { blocks, bfree, bsize, files, ffree } = statfsSync(folder);
  return { usedBytes: (blocks - bfree) * bsize, inodes: files - ffree };
}

/** Throws Unavailable when the disk has less left than is kept for the node. */
export function requireDiskSpace(folder: string, reserve: DiskReserve, what: string): void {
  let disk: StatsFs;
  try {
    disk = statfsSync(folder);
  } catch {
    // What is wrong with the folder is said, in better words, by who uses it.
    return;
  }
  const shortage = diskShortage(disk, reserve);
  if (shortage)
    throw new WindlassError('Unavailable', `no space left for ${what} below ${folder}: ${shortage.message}`);
}
