// Names of block devices and of what a folder lies on.
import { readFileSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';

/** `/dev/vda` for the numbers of a block device; `major:minor` when it has no node. */
export function blockDeviceName(major: number, minor: number): string {
  try {
    const text = readFileSync(`/sys/dev/block/${major}:${minor}/uevent`, 'utf8');
    const name = /^DEVNAME=(.+)$/m.exec(text)?.[1];
    if (name !== undefined) return `/dev/${name}`;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  return `${major}:${minor}`;
}

export interface FilesystemSize {
  readonly device: string;
  readonly limitBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

/** The file system that `folder` lies on. */
export async function describeFilesystem(folder: string): Promise<FilesystemSize> {
  const [size, { dev }] = await Promise.all([statfs(folder), stat(folder)]);
  // glibc's makedev: the low twelve bits of the major number stand above the low eight of the minor.
  const major = Math.floor(dev / 256) % 4096;
  const minor = (dev % 256) + Math.floor(dev / 2 ** 20) * 256;
  return {
    device: blockDeviceName(major, minor),
    limitBytes: size.blocks * size.bsize,
    inodes: size.files,
    inodesFree: size.ffree,
  };
}
