// WORKDIR: the directory is there afterwards, with its parents, owned by root.
import { mkdirSync } from 'node:fs';
import { WindlassError } from '../lib/errors.ts';
import { resolveInRoot } from '../runtime-shim/oci-runtime/rooted-path.ts';

/** Makes what is missing of `path` in `root`, following links as a container would. Invalid where a file is in the way. */
export function makeWorkdir(root: string, path: string): void {
  const parts = path.split('/').filter(Boolean);
  for (let count = 1; count <= parts.length; count += 1) {
    const prefix = `/${parts.slice(0, count).join('/')}`;
    const { hostPath, stat } = resolveInRoot(root, prefix);
    if (stat?.isDirectory()) continue;
    if (stat) throw new WindlassError('Invalid', `cannot make the directory ${path}: ${prefix} is not a directory`);
    mkdirSync(hostPath, { mode: 0o755 });
  }
}
