// Paths inside a tree that somebody else may be changing. Every folder is opened by way of the one above it, and links are
// read and followed here: what is opened at the end lies in the tree, whatever is swapped for a link meanwhile.
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type BigIntStats } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';
import type { SourceTree } from './builder-files.ts';
import { cleanPath, type IgnoreRules } from './ignore.ts';

const MAX_LINKS = 40;
/** Each folder on the way is kept open. */
const MAX_DEPTH = 1000;

export interface OpenedSource extends Disposable {
  /** Components below the root, without links. Byte strings. */
  readonly parts: readonly string[];
  readonly stat: BigIntStats;
  /** Byte string; leads to exactly this file or folder while it is open. */
  readonly path: string;
}

/**
 * The components of a path in a tree, given as text. Above the root of an image there is the root again; a path that
 * leads out of a context is refused.
 */
export function partsOf(tree: SourceTree, path: string): string[] {
  if (path.includes('\0')) throw new WindlassError('Invalid', `source ${JSON.stringify(path)} holds a NUL`);
  const cleaned = cleanPath(path.replace(/^\/+/, '') || '.');
  if (tree.isContext && (cleaned === '..' || cleaned.startsWith('../'))) {
    throw new WindlassError('Invalid', `source ${JSON.stringify(path)} is outside of ${tree.label}`);
  }
  const parts = cleanPath(`/${cleaned}`).split('/').slice(1);
  return parts.filter((part) => part !== '');
}

/**
 * Opens what `parts` (byte strings) lead to, following links, the last one too. Undefined when nothing is there, or only
 * something that `rules` leave out. Throws Invalid for a link that leads out of a context.
 */
export function openSource(tree: SourceTree, rules: IgnoreRules, parts: readonly string[]): OpenedSource | undefined {
  const folders: { readonly fd: number; readonly name: string }[] = [{ fd: openRoot(tree), name: '' }];
  const real = (): string[] => folders.slice(1).map(({ name }) => name);
  const here = (): string => `/proc/self/fd/${(folders.at(-1) as { fd: number }).fd}`;
  const close = (): void => {
    for (const { fd } of folders.splice(0)) closeSync(fd);
  };
  const todo = parts.toReversed();
  let links = 0;
  try {
    while (todo.length > 0) {
      const part = todo.pop() as string;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (folders.length > 1) closeSync((folders.pop() as { fd: number }).fd);
        else if (tree.isContext) throw leadsOut(tree, parts);
        continue;
      }
      const path = `${here()}/${part}`;
      const stat = lookAt(path);
      const isLast = todo.every((rest) => rest === '' || rest === '.');
      if (stat === undefined || (!stat.isDirectory() && rules.isIgnored(textOf([...real(), part].join('/'))))) {
        close();
        return undefined;
      }
      if (stat.isSymbolicLink()) {
        links += 1;
        if (links > MAX_LINKS) throw new WindlassError('Invalid', `too many links in source ${shown(parts)}`);
        const target = readLink(path);
        // As in a container: an absolute link starts again at the root of the tree.
        if (target.startsWith('/')) for (const { fd } of folders.splice(1)) closeSync(fd);
        todo.push(...target.split('/').toReversed());
      } else if (stat.isDirectory()) {
        if (folders.length > MAX_DEPTH)
          throw new WindlassError('Invalid', `source ${shown(parts).slice(0, 100)} is too deep`);
        const fd = openFolder(path);
        if (fd === undefined) todo.push(part);
        else folders.push({ fd, name: part });
      } else if (isLast) {
        return { parts: [...real(), part], stat, path, [Symbol.dispose]: close };
      } else {
        close();
        return undefined;
      }
    }
    const folder = folders.at(-1) as { fd: number };
    return { parts: real(), stat: fstatSync(folder.fd, { bigint: true }), path: here(), [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A byte string as text, for patterns and messages. */
export function textOf(bytes: string): string {
  const native = nativePath(bytes);
  return typeof native === 'string' ? native : native.toString('utf8');
}

/** Opens a folder without following a link in its place; undefined when it is no folder any more. */
export function openFolder(path: string): number | undefined {
  try {
    return openSync(nativePath(path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** lstat(2); undefined when nothing is there. */
export function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(nativePath(path), { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (['ENOTDIR', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Target of a link; Conflict when it is none any more. */
export function readLink(path: string): string {
  try {
    return readlinkSync(nativePath(path), { encoding: 'latin1' });
  } catch (error) {
    if (!['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
    const name = textOf(path.slice(path.lastIndexOf('/') + 1));
    throw new WindlassError('Conflict', `${JSON.stringify(name)} was changed while it was read`, { cause: error });
  }
}

function openRoot(tree: SourceTree): number {
  const fd = openFolder(bytePath(tree.root));
  if (fd === undefined) throw new WindlassError('NotFound', `the folder of ${tree.label} is gone`);
  return fd;
}

function leadsOut(tree: SourceTree, parts: readonly string[]): WindlassError {
  return new WindlassError('Invalid', `source ${shown(parts)} is a link that leads out of ${tree.label}`);
}

const shown = (parts: readonly string[]): string => JSON.stringify(textOf(parts.join('/')));
