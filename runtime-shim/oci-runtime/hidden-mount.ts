// crun on a host with both cgroup v1 and v2 hierarchies. It looks at the v2 mount, finds controllers there, and refuses
// to use those of v1. So it gets a mount namespace of its own, for its own short life, in which that mount is not there.
import { WindlassError } from '../../lib/errors.ts';
import type { CgroupMounts } from '../cgroups/cgroups.ts';
import { shellQuote } from './shell-quote.ts';

/** The mount to hide from crun; undefined on a host with one kind of hierarchy. */
export function mountToHide({ v1, v2 }: CgroupMounts): string | undefined {
  return v1.has('memory') ? v2 : undefined;
}

/** The mount point that holds `mountPoint`. */
export function mountAbove(mountinfo: string, mountPoint: string): string {
  const targets = mountinfo.split('\n').map((line) => line.split(' ')[4] ?? '');
  const above = targets.filter((target) => target !== mountPoint && `${mountPoint}/`.startsWith(`${target}/`));
  return above.toSorted((a, b) => b.length - a.length)[0] ?? '/';
}

/** True when to unmount `mountPoint` in a copy of this mount namespace would unmount it in the original too. */
export function isShared(mountinfo: string, mountPoint: string): boolean {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .filter(
      ([, , , , target = '']) =>
        target === mountPoint || `${mountPoint}/`.startsWith(target === '/' ? target : `${target}/`),
    )
    .some((fields) => fields.slice(6, fields.indexOf('-')).some((field) => field.startsWith('shared:')));
}

/**
 * Arguments of `unshare` before those of the program that is not to see `hidden`; pid, descriptors and exit code are the
 * program's. Unavailable where hiding the mount would reach the host's own.
 */
export function hidingArguments(program: string, hidden: string, mountinfo: string): string[] {
  if (isShared(mountinfo, hidden)) {
    throw new WindlassError(
      'Unavailable',
      `crun needs a host without ${hidden}, whose mount is shared and cannot be hidden from it: use runc`,
    );
  }
  const script = `umount ${shellQuote(hidden)} && exec ${shellQuote(program)} "$@"`;
  return ['--mount', '--propagation', 'unchanged', '/bin/sh', '-c', script, 'crun'];
}
