// Paths of files to copy or to mount, as far as they can be judged without looking.
import { posix } from 'node:path';
import { Problem } from '../dockerfile/problem.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import type { FileSource } from '../operations.ts';

/** Where a source of ADD is. */
export type SourceKind = 'local' | 'http' | 'git';

/** `user@host:path`, as git and ssh write it. */
const SCP = /^[A-Za-z0-9_-]+@[A-Za-z0-9._-]+:.+/;

/** Tells addresses from paths. Throws Problem for an address of a kind that nothing fetches. */
export function sourceKind(source: string): SourceKind {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(source)?.[1]?.toLowerCase();
  if (scheme === undefined) return SCP.test(source) ? 'git' : 'local';
  if (scheme === 'git' || scheme === 'ssh') return 'git';
  if (scheme !== 'http' && scheme !== 'https') {
    throw new Problem(
      `${quote(source)}: addresses of ${scheme}:// are not fetched, those of http, https, git and ssh are`,
    );
  }
  return /^[^?#]*\.git(?:#|$)/.test(source) ? 'git' : 'http';
}

/** Throws Problem for a path that leads out of the context. Above the root of a stage or an image there is the root again. */
export function checkSourcePath(path: string, from: FileSource): void {
  if (from.kind !== 'context') return;
  const normal = posix.normalize(path.replace(/^\/+/, ''));
  if (normal === '..' || normal.startsWith('../')) {
    throw new Problem(`${quote(path)} leads out of the build context`);
  }
}
