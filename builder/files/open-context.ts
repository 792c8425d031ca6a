// Where the files of a build come from: given inline, a folder of this machine, an archive in the content store, or a
// repository; and what the build reads of them first, its Dockerfile and its .dockerignore.
import { isUtf8 } from 'node:buffer';
import { closeSync, fstatSync, readSync, realpathSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { parseGitUrl } from '../../lib/git-url.ts';
import { withoutSecrets } from '../../lib/shown-url.ts';
import { isDigest } from '../../oci/digest.ts';
import { bytePath } from '../../oci/layers/file-system-calls.ts';
import { detectCompression, unpackLayer } from '../../oci/layers/unpack.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import { removeTree } from '../../runtime-shim/snapshots/remove-tree.ts';
import { createUnpackPool } from '../../runtime-shim/snapshots/unpack-pool.ts';
import type { ContextSource, SourcePosition } from '../../runtime-shim/images/image-builder.ts';
import type { Context, ContextOptions, OpenContext, SourceTree } from './builder-files.ts';
import { fetchGit } from './fetch-git.ts';
import { createIgnoreRules, parseIgnoreFile } from './ignore.ts';
import { openFile } from './read-content.ts';
import { openSource, partsOf } from './source-path.ts';

const LABEL = 'the build context';
const MAX_DOCKERFILE_BYTES = 16 * 1024 * 1024;
/** Names of a context that a message lists. */
const MAX_LISTED = 20;
/** An archive that is unpacked at once, without a thread, unless it turns out to hold more than the limits say. */
const SMALL_ARCHIVE = { bytes: 256 * 1024, limits: { maxBytes: 8 * 1024 * 1024, maxEntries: 1000 } } as const;

/** See OpenContext. */
export const openContext: OpenContext = async (source, options) => {
  await using undo = new AsyncDisposableStack();
  const place = await makePlace(source, options, undo);
  const everything: SourceTree = { ...place.tree, label: LABEL, isContext: true, ignore: [] };
  const dockerfile = await readDockerfile(everything, options);
  const ignored = readIgnoreFile(everything, options);
  const tree = ignored ? { ...everything, ...ignored } : everything;
  const kept = undo.move();
  const context: Context = { tree, dockerfile, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() };
  return place.commit === undefined ? context : { ...context, commit: place.commit };
};

interface Place {
  readonly tree: Pick<SourceTree, 'root' | 'times' | 'hasGitModes'>;
  readonly commit?: string;
}

async function makePlace(source: ContextSource, options: ContextOptions, undo: AsyncDisposableStack): Promise<Place> {
  if (source.kind === 'folder') return { tree: { root: folderOf(source.path) } };
  const own = await mkdtemp(join(options.workDir, 'context-'));
  undo.defer(() => removeTree(own));
  switch (source.kind) {
    case 'inline':
      await writeInline(own, source.files);
      return { tree: { root: own, times: 'none', hasGitModes: true } };
    case 'archive': {
      const root = join(own, 'files');
      await unpackContext(source.digest, root, options);
      return { tree: { root } };
    }
    case 'git': {
      options.onLog?.(`fetching ${withoutSecrets(source.url)}`);
      const address = parseGitUrl(source.url, { allowsLocal: true });
      const checkout = await fetchGit(address, { workDir: own, keepGitDir: false, signal: options.signal });
      options.onLog?.(`commit ${checkout.commit}`);
      const tree = { root: checkout.root, times: checkout.commitSeconds, hasGitModes: true };
      return { tree, commit: checkout.commit };
    }
  }
}

/** The folder itself, where `path` leads to it by way of links: nothing in it is followed out later. */
function folderOf(path: string): string {
  if (!isAbsolute(path) || path.includes('\0')) {
    throw new WindlassError('Invalid', `context folder ${JSON.stringify(path)}: want an absolute path`);
  }
  try {
    const real = realpathSync(path);
    if (statSync(real).isDirectory()) return real;
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw error;
    throw new WindlassError('NotFound', `context folder ${path} is not there`, { cause: error });
  }
  throw new WindlassError('Invalid', `context ${path} is not a folder`);
}

async function writeInline(root: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, content] of files) {
    const parts = name.split('/');
    if (
      name.includes('\0') ||
      parts.some((part) => part === '' || part === '.' || part === '..' || part.length > 255)
    ) {
      throw new WindlassError(
        'Invalid',
        `inline file ${JSON.stringify(name)}: want a path below the context, without . and .. and doubled slashes`,
      );
    }
    const path = join(root, name);
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { flag: 'wx' });
      await chmod(path, 0o644);
    } catch (error) {
      if (!['EEXIST', 'ENOTDIR', 'EISDIR'].includes(errnoOf(error) ?? '')) throw error;
      throw new WindlassError('Invalid', `inline file ${JSON.stringify(name)} is both a file and a folder`, {
        cause: error,
      });
    }
  }
}

async function unpackContext(
  digest: string,
  target: string,
  { store, protect, signal }: ContextOptions,
): Promise<void> {
  if (!isDigest(digest)) throw new WindlassError('Invalid', `context archive ${JSON.stringify(digest)} is no digest`);
  protect(digest);
  const sizeBytes = store.sizeOf(digest);
  if (sizeBytes === undefined)
    throw new WindlassError('NotFound', `context archive ${digest} is not in the content store`);
  const blobPath = store.blobPath(digest);
  const compression = await detectCompression(blobPath);
  const request = { blobPath, digest, compression, diffId: undefined, target };
  try {
    await mkdir(target, { mode: 0o755 });
    if (sizeBytes <= SMALL_ARCHIVE.bytes) {
      try {
        const limits = { ...SMALL_ARCHIVE.limits, hasWhiteouts: false };
        await unpackLayer({ ...request, options: limits }, createLayerFiles());
        return;
      } catch (error) {
        if (!(error instanceof WindlassError) || error.reason !== 'Invalid') throw error;
        // Too large for here, or damaged: the thread will say.
        await rm(target, { recursive: true });
        await mkdir(target, { mode: 0o755 });
      }
    }
    await using pool = createUnpackPool(1);
    await pool.unpack({ ...request, sizeBytes, options: { hasWhiteouts: false } }, signal);
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    const message = error.message.replace(`layer ${digest}`, `context archive ${digest}`);
    throw new WindlassError(error.reason, message, { details: error.details, cause: error });
  }
}

async function readDockerfile(tree: SourceTree, options: ContextOptions): Promise<Context['dockerfile']> {
  const { dockerfile: path, dockerfileInline: inline } = options;
  if (inline !== undefined) return { path, text: inline };
  const bytes = readInContext(tree, path);
  if (bytes === undefined) throw await noDockerfile(tree, path);
  if (!isUtf8(bytes)) throw notUtf8(path, bytes);
  return { path, text: bytes.toString('utf8') };
}

/** `<Dockerfile>.dockerignore` is asked for first; both apply to what COPY sees, not to the Dockerfile. */
function readIgnoreFile(
  tree: SourceTree,
  { dockerfile }: ContextOptions,
): Pick<SourceTree, 'ignore' | 'ignoreFile'> | undefined {
  for (const ignoreFile of [`${dockerfile}.dockerignore`, '.dockerignore']) {
    const bytes = readInContext(tree, ignoreFile);
    if (bytes === undefined) continue;
    try {
      const ignore = parseIgnoreFile(bytes.toString('utf8'));
      createIgnoreRules(ignore);
      return { ignore, ignoreFile };
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
      throw new WindlassError('Invalid', `${ignoreFile}: ${error.message}`, { cause: error });
    }
  }
  return undefined;
}

/** A file of the context; undefined when it is not there. Links are followed inside the context. */
function readInContext(tree: SourceTree, path: string): Buffer | undefined {
  using found = openSource(tree, createIgnoreRules([]), partsOf(tree, path).map(bytePath));
  if (!found) return undefined;
  if (!found.stat.isFile()) throw new WindlassError('Invalid', `${path} in ${LABEL} is not a file`);
  const fd = openFile(found.path);
  try {
    const { size } = fstatSync(fd);
    if (size > MAX_DOCKERFILE_BYTES) {
      throw new WindlassError('Invalid', `${path} has ${size} bytes, the limit is ${MAX_DOCKERFILE_BYTES}`);
    }
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, readSync(fd, bytes, 0, size, 0));
  } finally {
    closeSync(fd);
  }
}

async function noDockerfile(tree: SourceTree, path: string): Promise<WindlassError> {
  const names = (await readdir(tree.root)).toSorted();
  const listed = names.slice(0, MAX_LISTED).join(', ') + (names.length > MAX_LISTED ? ', ...' : '');
  const what = names.length === 0 ? 'which is empty' : `which has ${listed}`;
  return new WindlassError('NotFound', `Dockerfile ${JSON.stringify(path)} is not in ${LABEL}, ${what}`);
}

function notUtf8(file: string, bytes: Buffer): WindlassError {
  const lines = bytes.toString('latin1').split('\n');
  const line = lines.findIndex((text) => !isUtf8(Buffer.from(text, 'latin1')));
  // What cannot be decoded becomes U+FFFD, so the first one stands where the damage begins.
  const column = Buffer.from(lines[line] ?? '', 'latin1')
    .toString('utf8')
    .indexOf('\ufffd');
  const position: SourcePosition = { file, line: line + 1, column: column + 1 };
  return new WindlassError('Invalid', `${file}:${position.line}:${position.column}: it is not UTF-8`, {
    details: { position },
  });
}
