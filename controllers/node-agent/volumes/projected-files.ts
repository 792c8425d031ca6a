// The files of a ConfigMap or Secret mount, replaced as a whole: readers see the old set or the new one, never a mix.
// Layout as kubelet's: <dir>/<name> -> ..data/<name>, ..data -> ..<time stamp> (a folder with the real files).
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
  chmod,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';
import { pathSteps } from './safe-path.ts';

export interface ProjectedFile {
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
}

export interface KeyItem {
  readonly key: string;
  readonly path: string;
  readonly mode?: number | undefined;
}

/** Which keys become which files; names a missing key unless `optional`. */
export function selectFiles(
  data: Readonly<Record<string, Buffer>>,
  source: { items?: readonly KeyItem[] | undefined; defaultMode?: number | undefined; optional?: boolean | undefined },
): { files: ProjectedFile[] } | { missingKey: string } {
  const mode = source.defaultMode ?? 0o644;
  if (!source.items || source.items.length === 0) {
    return { files: Object.entries(data).map(([key, content]) => ({ path: key, mode, content })) };
  }
  const files: ProjectedFile[] = [];
  for (const item of source.items) {
    const content = data[item.key];
    if (content === undefined) {
      if (source.optional) continue;
      return { missingKey: item.key };
    }
    pathSteps(item.path);
    files.push({ path: item.path, mode: item.mode ?? mode, content });
  }
  return { files };
}

/** Makes `directory` show exactly `files`; writes nothing when it already does. */
export async function writeProjectedFiles(directory: string, files: readonly ProjectedFile[]): Promise<boolean> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const link = join(directory, '..data');
  const current = await readLinkIfThere(link);
  if (current !== undefined && (await isSame(join(directory, current), files))) return false;
  const fresh = await mkdtemp(join(directory, `..${new Date().toISOString().slice(0, 19).replace(/[-:T]/g, '_')}.`));
  await chmod(fresh, 0o755);
  for (const file of files) {
    const path = join(fresh, ...pathSteps(file.path));
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFile(path, file.content);
    // After the write: the mode given to open is subject to the umask.
    await chmod(path, file.mode);
  }
  const temporary = join(directory, '..data_tmp');
  await rm(temporary, { force: true });
  await symlink(fresh.slice(directory.length + 1), temporary);
  await rename(temporary, link);
  await linkNames(directory, files);
  if (current !== undefined) await rm(join(directory, current), { recursive: true, force: true });
  return true;
}

async function linkNames(directory: string, files: readonly ProjectedFile[]): Promise<void> {
  const wanted = new Set(files.map((file) => pathSteps(file.path)[0] ?? ''));
  const present = (await readdir(directory)).filter((name) => !name.startsWith('..'));
  for (const name of present) if (!wanted.has(name)) await unlink(join(directory, name));
  for (const name of wanted) {
    if (name !== '' && !present.includes(name)) await symlink(join('..data', name), join(directory, name));
  }
}

async function isSame(directory: string, files: readonly ProjectedFile[]): Promise<boolean> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (!entries || entries.filter((entry) => entry.isFile()).length !== files.length) return false;
  for (const file of files) {
    const content = await readFile(join(directory, file.path)).catch(() => undefined);
    if (!content?.equals(file.content)) return false;
  }
  return true;
}

async function readLinkIfThere(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
