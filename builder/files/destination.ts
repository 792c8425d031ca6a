// Paths in the image that something is written to: links on the way are followed as in a container, and never lead out.
import { chmodSync, lchownSync, mkdirSync } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';
import { resolveInRoot } from '../../runtime-shim/oci-runtime/rooted-path.ts';
import { resolveUser } from '../../runtime-shim/oci-runtime/user.ts';
import { lookAt } from './source-path.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Where `path` leads to: the host path (byte string), and whether a folder is there. */
export function resolveDestination(root: string, path: string): { hostPath: string; isFolder: boolean } {
  const { hostPath, stat } = resolveInRoot(root, path);
  return { hostPath: bytePath(hostPath), isFolder: stat?.isDirectory() === true };
}

/**
 * Makes the folder `path` with what is missing above it, each with mode 0755 and the given owner (root by default), and
 * gives its host path (byte string). Throws Invalid when something else is in the way.
 */
export function makeDirectories(root: string, path: string, owner: Owner | undefined): string {
  const { hostPath, path: inside } = resolveInRoot(root, path);
  const top = bytePath(resolveInRoot(root, '/').hostPath);
  const parts = bytePath(hostPath).slice(top.length).split('/').filter(Boolean);
  let made = top;
  for (const part of parts) {
    made += `/${part}`;
    const found = lookAt(made);
    if (found?.isDirectory()) continue;
    if (found) {
      const shown = made.slice(top.length);
      throw new WindlassError('Invalid', `${shown} in the image is no folder, so ${inside} cannot be made`);
    }
    mkdirSync(nativePath(made), 0o755);
    // The process' umask has its say in mkdir(2).
    chmodSync(nativePath(made), 0o755);
    lchownSync(nativePath(made), owner?.uid ?? 0, owner?.gid ?? 0);
  }
  return made;
}

/**
 * Who `[user][:group]` is, by the files of the image below `root`. A number alone is the group as well, a name alone has
 * the group that /etc/passwd says, a group alone is root's. Throws Invalid for an unknown name.
 */
export function resolveOwner(root: string, chown: string): Owner {
  const isNumber = /^\d+$/.test(chown);
  const named = chown.startsWith(':') ? `0${chown}` : chown;
  const { uid, gid } = resolveUser(root, {
    user: isNumber ? `${chown}:${chown}` : named,
    supplementalGroups: [],
    policy: 'Strict',
  });
  return { uid, gid };
}
