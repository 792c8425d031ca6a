// WORKDIR: the directory is there afterwards, with its parents. What is made belongs to the user of the stage, as with
// BuildKit; docker's legacy builder gave it to root.
import { resolveUser } from '../runtime-shim/oci-runtime/user.ts';
import { makeDirectories, resolveDestination } from './files/destination.ts';
import type { WorkdirOperation } from './operations.ts';

/**
 * Makes what is missing of the path in `root`, following links as a container would. Invalid where a file is in the way,
 * or something has to be made and the user is none of the image's.
 */
export function makeWorkdir(root: string, { path, user }: WorkdirOperation): void {
  if (resolveDestination(root, path).isFolder) return;
  const { uid, gid } = resolveUser(root, { user, supplementalGroups: [], policy: 'Strict' });
  makeDirectories(root, path, { uid, gid });
}
