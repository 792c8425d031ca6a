// The runtime's program on a read-only mount. A container can reach the file that a runtime joins it with through
// /proc/self/exe (CVE-2019-5736), so runtimes copy or bind-mount themselves at every call; one that is told so and finds
// itself on a read-only mount is safe already and need not.
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { bindMount, MNT, umount } from '../host/mount.ts';

/** The word of runc and crun for "this is such a file". */
export const SEALED_ENV = { _LIBCONTAINER_CLONED_BINARY: '1' } as const;

/**
 * Sees to it that `program` is mounted read-only at `path`: made with the first call, again when someone took it away or
 * the program was replaced by a newer one. False where that cannot be: the runtime then protects itself.
 */
export function seal(program: string, path: string): boolean {
  if (isSame(program, path)) return true;
  try {
    umount(path, MNT.detach);
    mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
    writeFileSync(path, '', { flag: 'a', mode: 0o600 });
    bindMount(program, path, { readOnly: true });
    return isSame(program, path);
  } catch {
    // A kernel before 5.12 cannot make the mount read-only, for one.
    return false;
  }
}

function isSame(program: string, path: string): boolean {
  const [original, mounted] = [program, path].map((file) => statSync(file, { throwIfNoEntry: false }));
  return original !== undefined && original.ino === mounted?.ino && original.dev === mounted.dev;
}
