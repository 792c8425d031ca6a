// WORKDIR: the directory is there afterwards, with its parents. What is made belongs to the user of the stage, as with
// BuildKit; docker's legacy builder gave it to root.
import { chownSync, mkdirSync } from 'node:fs';
import { WindlassError } from '../lib/errors.ts';
import { resolveInRoot } from '../runtime-shim/oci-runtime/rooted-path.ts';
import { resolveUser } from '../runtime-shim/oci-runtime/user.ts';
import type { WorkdirOperation } from './operations.ts';

/**
 * Makes what is missing of the path in `root`, following links as a container would. Invalid where a file is in the way,
 * or the user is none of the image's.
 */
export function makeWorkdir(root: string, { path, user }: WorkdirOperation): void {
  const parts = path.split('/').filter(Boolean);
  for (let count = 1; count <= parts.length; count += 1) {
    const prefix = `/${parts.slice(0, count).join('/')}`;
    const { hostPath, stat } = resolveInRoot(root, prefix);
    if (stat?.isDirectory()) continue;
    if (stat) throw new WindlassError('Invalid', `cannot make the directory ${path}: ${prefix} is not a directory`);
    const { uid, gid } = resolveUser(root, { user, supplementalGroups: [], policy: 'Strict' });
    mkdirSync(hostPath, { mode: 0o755 });
    chownSync(hostPath, uid, gid);
  }
}
