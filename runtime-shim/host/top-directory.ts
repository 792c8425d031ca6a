// The "top of directory hierarchies" attribute (chattr +T, FS_IOC_SETFLAGS of ioctl_iflags(2)).
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';

const FS_IOC_GETFLAGS = 0x80086601n;
const FS_IOC_SETFLAGS = 0x40086602n;
const FS_TOPDIR_FL = 0x00020000;

/**
 * Asks the file system to spread the directories made in `path` over the disk, each with room for what comes into it,
 * instead of beside each other. On ext4 a layer then finds fresh inodes at once; beside the directories of layers that
 * were deleted a moment ago, creating a file takes ten times as long. A file system without the attribute is left alone.
 */
export function spreadDirectoriesOf(path: string): void {
  const ioctl = koffi.load('libc.so.6').func('int ioctl(int fd, uint64_t request, _Inout_ int32_t *flags)');
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const flags = [0];
    if ((ioctl(fd, FS_IOC_GETFLAGS, flags) as number) !== 0) return;
    const wanted = (flags[0] ?? 0) | FS_TOPDIR_FL;
    if (wanted !== flags[0]) ioctl(fd, FS_IOC_SETFLAGS, [wanted]);
  } finally {
    closeSync(fd);
  }
}
