// The file tree that a stack of layers makes, worked out in memory from the archives alone: what a test of layers is held
// against must not come from the code that unpacks them.
import { createHash } from 'node:crypto';
import { dirname } from 'node:path/posix';
import { createTarReader } from '../../../oci/layers/tar-reader.ts';
import type { TarEntry } from '../../../oci/layers/tar-header.ts';

interface FileNode {
  readonly type: TarEntry['type'];
  readonly mode: number;
  readonly owner: string;
  readonly size: number;
  readonly sha256: string;
  readonly linkName: string;
  readonly device: string;
  readonly xattrs: readonly string[];
}

/** Path without a slash at either end, and what is there; names of one file have the same node. */
export type FileTree = Map<string, FileNode>;

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** Lays uncompressed layer archives over each other, the lowest first, by the rules of the OCI image specification. */
export function layTree(layers: readonly Buffer[]): FileTree {
  const tree: FileTree = new Map();
  for (const layer of layers) layOne(tree, layer);
  return tree;
}

/** The entries of a tar with their contents, in order. */
export function readTar(tar: Buffer): { entry: TarEntry; content: Buffer }[] {
  const entries: { entry: TarEntry; content: Buffer }[] = [];
  const reader = createTarReader((entry) => {
    const content = Buffer.alloc(entry.size);
    entries.push({ entry, content });
    return { write: (chunk, position) => void chunk.copy(content, position), end: () => undefined };
  });
  reader.write(tar);
  reader.end();
  return entries;
}

function layOne(tree: FileTree, layer: Buffer): void {
  const entries = readTar(layer).map(({ entry, content }) => ({ entry, content, path: pathOf(entry.name) }));
  // Whiteouts are about the layers below only, wherever they stand in the archive.
  for (const { path } of entries) {
    const [folder, name] = split(path);
    if (name === OPAQUE) removeBelow(tree, folder);
    else if (name.startsWith(WHITEOUT)) removeAt(tree, join(folder, name.slice(WHITEOUT.length)));
  }
  for (const { entry, content, path } of entries) {
    if (path === '' || split(path)[1].startsWith(WHITEOUT)) continue;
    if (entry.type === 'hardlink') {
      const target = tree.get(pathOf(entry.linkName));
      if (target === undefined) throw new Error(`layer has a link ${path} to ${entry.linkName}, which is not there`);
      removeAt(tree, path);
      tree.set(path, target);
      continue;
    }
    if (entry.type !== 'directory' || tree.get(path)?.type !== 'directory') removeAt(tree, path);
    addParents(tree, path);
    tree.set(path, nodeOf(entry, content));
  }
}

function nodeOf(entry: TarEntry, content: Buffer): FileNode {
  const isDevice = entry.type === 'char' || entry.type === 'block';
  return {
    type: entry.type,
    mode: entry.mode,
    owner: `${entry.uid}:${entry.gid}`,
    size: entry.type === 'file' ? entry.size : 0,
    sha256: entry.type === 'file' ? createHash('sha256').update(content).digest('hex') : '',
    linkName: entry.type === 'symlink' ? text(entry.linkName) : '',
    device: isDevice ? `${entry.major},${entry.minor}` : '',
    xattrs: [...entry.xattrs].map(([name, value]) => `${text(name)}=${value.toString('hex')}`).sort(),
  };
}

/**
 * One line per path: what is in `tree` and not the same in `base`. A file with the bytes of one in the base says so:
 * those differ from machine to machine.
 */
export function describeChanges(tree: FileTree, base: FileTree): { files: Record<string, string>; removed: string[] } {
  const known = new Map<string, string>();
  for (const [path, node] of [...base].sort(byPath)) {
    if (node.type === 'file' && node.size > 0 && !known.has(node.sha256)) known.set(node.sha256, path);
  }
  if (base.has('bin/busybox')) known.set(base.get('bin/busybox')?.sha256 ?? '', 'bin/busybox');
  const files: Record<string, string> = {};
  const firstNames = new Map<FileNode, string>();
  for (const [path, node] of [...tree].sort(byPath)) {
    const before = base.get(path);
    const first = node.type === 'file' ? firstNames.get(node) : undefined;
    if (first === undefined) firstNames.set(node, path);
    const line = describe(node, known);
    if (before !== undefined && describe(before, known) === line) continue;
    files[path] = first === undefined || !(first in files) ? line : `same file as ${first}`;
  }
  const removed = [...base.keys()].filter(
    (path) => !tree.has(path) && (tree.has(split(path)[0]) || !path.includes('/')),
  );
  return { files, removed: removed.sort() };
}

function describe(node: FileNode, known: ReadonlyMap<string, string>): string {
  const words: string[] = [node.type];
  // The kernel knows no mode of a symbolic link; builders write several.
  if (node.type !== 'symlink') words.push(node.mode.toString(8).padStart(4, '0'));
  words.push(node.owner);
  if (node.type === 'file') {
    const path = known.get(node.sha256);
    words.push(path === undefined ? `${node.size} sha256:${node.sha256}` : `content of ${path}`);
  }
  if (node.type === 'symlink') words.push(`-> ${node.linkName}`);
  if (node.device !== '') words.push(node.device);
  return [...words, ...node.xattrs].join(' ');
}

const byPath = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);
const text = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');
const pathOf = (name: string): string =>
  text(name)
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
const join = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

function split(path: string): [string, string] {
  const folder = dirname(path);
  return folder === '.' ? ['', path] : [folder, path.slice(folder.length + 1)];
}

function removeBelow(tree: FileTree, folder: string): void {
  for (const path of tree.keys()) if (folder === '' || path.startsWith(`${folder}/`)) tree.delete(path);
}

function removeAt(tree: FileTree, path: string): void {
  if (tree.get(path)?.type === 'directory') removeBelow(tree, path);
  tree.delete(path);
}

function addParents(tree: FileTree, path: string): void {
  const [folder] = split(path);
  if (folder === '' || tree.get(folder)?.type === 'directory') return;
  addParents(tree, folder);
  const made = { size: 0, sha256: '', linkName: '', device: '', xattrs: [] };
  tree.set(folder, { type: 'directory', mode: 0o755, owner: '0:0', ...made });
}
