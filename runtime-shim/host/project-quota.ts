// Project quotas (quotactl(2), FS_IOC_FSSETXATTR of ioctl_xfs_fsgetxattr): files carry the number of a project, new ones
// inherit it from their folder, and the file system counts and limits what a project has. ext4 (features project and
// quota) and xfs have them when mounted with prjquota.
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';
import { check, SystemError } from './libc.ts';

const library = koffi.load('libc.so.6');
const ioctl = library.func('int ioctl(int fd, uint64_t request, void *data)');
// quotactl_fd(2) is Linux 5.14 and needs no path of a block device.
const syscall = library.func('int64_t syscall(int64_t number, int64_t fd, int64_t command, int64_t id, void *data)');
const SYS_QUOTACTL_FD = 443;

const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FSXATTR_BYTES = 28;
const FS_XFLAG_PROJINHERIT = 0x200;

const PRJQUOTA = 2;
const Q_GETQUOTA = 0x800007;
const Q_SETQUOTA = 0x800008;
const Q_XGETQSTAT = 0x5805;
const FS_QUOTA_PDQ_ENFD = 1 << 5;
const QIF_BLIMITS = 1;
const QIF_ILIMITS = 4;
/** struct if_dqblk counts limits of space in these. */
const BLOCK_BYTES = 1024n;

export interface ProjectUsage {
  readonly usedBytes: number;
  readonly inodes: number;
}

export interface ProjectLimits {
  /** Absent = none. */
  readonly bytes?: number | undefined;
  readonly inodes?: number | undefined;
}

/** Whether the file system of `folder` holds projects to their limits. */
export function enforcesProjectQuota(folder: string): boolean {
  // struct fs_quota_stat, whose flags follow the version.
  const state = Buffer.alloc(128);
  state.writeInt8(1, 0);
  return withFd(folder, (fd) => {
    const isKnown = quotactl(fd, Q_XGETQSTAT, 0, state) === 0;
    return isKnown && (state.readUInt16LE(2) & FS_QUOTA_PDQ_ENFD) !== 0;
  });
}

/** Puts the folder `path`, and what is made in it from now on, into a project. */
export function setProject(path: string, project: number): void {
  withFd(path, (fd) => {
    const attributes = readAttributes(fd, path);
    attributes.writeUInt32LE((attributes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT) >>> 0, 0);
    attributes.writeUInt32LE(project, 12);
    check(ioctl(fd, FS_IOC_FSSETXATTR, attributes) as number, 'ioctl FS_IOC_FSSETXATTR', path);
  });
}

/** The project of the folder `path`; 0 = none. */
export const projectOf = (path: string): number => withFd(path, (fd) => readAttributes(fd, path).readUInt32LE(12));

/** Sets the limits of a project on the file system of `folder`. */
export function setProjectLimits(folder: string, project: number, { bytes = 0, inodes = 0 }: ProjectLimits): void {
  const quota = Buffer.alloc(72);
  quota.writeBigUInt64LE((BigInt(bytes) + BLOCK_BYTES - 1n) / BLOCK_BYTES, 0);
  quota.writeBigUInt64LE(BigInt(inodes), 24);
  quota.writeUInt32LE(QIF_BLIMITS | QIF_ILIMITS, 64);
  withFd(folder, (fd) => check(quotactl(fd, Q_SETQUOTA, project, quota), 'quotactl_fd Q_SETQUOTA', folder));
}

/** What a project has on the file system of `folder`, and whether it has limits; undefined = it was never heard of. */
export function readProject(folder: string, project: number): (ProjectUsage & { isLimited: boolean }) | undefined {
  const quota = Buffer.alloc(72);
  return withFd(folder, (fd) => {
    if (quotactl(fd, Q_GETQUOTA, project, quota) === -1) {
      const error = new SystemError(koffi.errno(), 'quotactl_fd Q_GETQUOTA', folder);
      // xfs for a project without an entry; ext4 answers with zeros.
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
      throw error;
    }
    const field = (offset: number): number => Number(quota.readBigUInt64LE(offset));
    return { usedBytes: field(16), inodes: field(40), isLimited: field(0) > 0 || field(24) > 0 };
  });
}

function readAttributes(fd: number, path: string): Buffer {
  const attributes = Buffer.alloc(FSXATTR_BYTES);
  check(ioctl(fd, FS_IOC_FSGETXATTR, attributes) as number, 'ioctl FS_IOC_FSGETXATTR', path);
  return attributes;
}

const quotactl = (fd: number, command: number, id: number, data: Buffer): number =>
  Number(syscall(SYS_QUOTACTL_FD, fd, command * 256 + PRJQUOTA, id, data));

function withFd<T>(folder: string, use: (fd: number) => T): T {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
