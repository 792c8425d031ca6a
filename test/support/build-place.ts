// A place to copy in: a source folder, and a root that is an overlay over a few files, as a build has it.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { BuilderFiles, ResolvedCopy, SourceTree } from '../../builder/files/builder-files.ts';
import { createBuilderFiles } from '../../builder/files/create-builder-files.ts';
import type { CopyOperation } from '../../builder/operations.ts';
import { nativePath } from '../../oci/layers/file-system-calls.ts';
import { kernelMounts } from '../../runtime-shim/snapshots/overlay-mounts.ts';
import { removeTree } from '../../runtime-shim/snapshots/remove-tree.ts';

export type CopyWords = Partial<CopyOperation> & { readonly sources?: readonly string[] };

export interface BuildPlace extends AsyncDisposable {
  readonly folder: string;
  /** Of the context. */
  readonly source: string;
  /** The mounted overlay. */
  readonly root: string;
  readonly upper: string;
  readonly workDir: string;
  readonly files: BuilderFiles;
  tree(options?: Partial<SourceTree>): SourceTree;
  /** Makes files in the context; a name that ends in `/` is a folder. */
  write(files: Readonly<Record<string, string>>): void;
  resolve(words: CopyWords, options?: Partial<SourceTree>): Promise<ResolvedCopy>;
  apply(resolved: ResolvedCopy): Promise<void>;
  /** Both. */
  copy(words: CopyWords, options?: Partial<SourceTree>): Promise<ResolvedCopy>;
  /** Everything below a path of the root: mode, owner where it is not root, and what it holds. */
  list(path?: string): Record<string, string>;
  /** What lies beside, which no copy may change. */
  secret(): string;
}

/** `lower` is what the image has so far. */
export function openBuildPlace(lower: Readonly<Record<string, string>> = {}): BuildPlace {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-place-'));
  const at = (name: string): string => join(folder, name);
  for (const name of ['source', 'lower', 'upper', 'overlay', 'root', 'work']) {
    mkdirSync(at(name));
    chmodSync(at(name), 0o755);
  }
  writeFileSync(at('secret'), 'untouched');
  writeTree(at('lower'), lower);
  kernelMounts.mountOverlay({
    lowerDirs: [at('lower')],
    upperDir: at('upper'),
    workDir: at('overlay'),
    target: at('root'),
  });
  const files = createBuilderFiles();
  const { signal } = new AbortController();
  const place: BuildPlace = {
    folder,
    source: at('source'),
    root: at('root'),
    upper: at('upper'),
    workDir: at('work'),
    files,
    tree: (options = {}) => ({
      root: at('source'),
      label: 'the build context',
      isContext: true,
      ignore: [],
      ...options,
    }),
    write: (made) => writeTree(at('source'), made),
    resolve: (words, options) =>
      files.resolveCopy(makeCopy(words), place.tree(options), { workDir: at('work'), signal }),
    apply: (resolved) => files.applyCopy(resolved, at('root'), { workDir: at('work'), signal }),
    async copy(words, options) {
      const resolved = await place.resolve(words, options);
      await place.apply(resolved);
      return resolved;
    },
    list: (path = '') => listTree(join(at('root'), path)),
    secret: () => readFileSync(at('secret'), 'utf8'),
    async [Symbol.asyncDispose]() {
      kernelMounts.unmount(at('root'));
      await files[Symbol.asyncDispose]();
      await removeTree(folder);
    },
  };
  return place;
}

export function makeCopy(words: CopyWords): CopyOperation {
  return {
    kind: 'copy',
    instruction: 'COPY',
    from: { kind: 'context' },
    sources: [],
    files: [],
    destination: '/',
    link: false,
    parents: false,
    exclude: [],
    keepGitDir: false,
    ...words,
  };
}

export function writeTree(root: string, files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(path, content);
  }
}

function listTree(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (folder: string, prefix: string): void => {
    for (const name of readdirSync(nativePath(folder), { encoding: 'latin1' }).toSorted()) {
      const path = `${folder}/${name}`;
      const stat = lstatSync(nativePath(path));
      const owner = stat.uid === 0 && stat.gid === 0 ? '' : ` ${stat.uid}:${stat.gid}`;
      const mode = (stat.mode & 0o7777).toString(8);
      if (stat.isSymbolicLink()) found[prefix + name] = `-> ${readlinkSync(nativePath(path))}${owner}`;
      else if (stat.isFile())
        found[prefix + name] = `${mode}${owner} ${readFileSync(nativePath(path), 'latin1').slice(0, 40)}`;
      else if (stat.isDirectory()) found[`${prefix}${name}/`] = `${mode}${owner}`;
      else found[prefix + name] = `${mode}${owner} special`;
      if (stat.isDirectory()) walk(path, `${prefix}${name}/`);
    }
  };
  walk(root, '');
  return found;
}
