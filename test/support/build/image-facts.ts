// What an image is, as far as builders have to agree: its configuration and the files that the build changed. Read from
// the archives that every builder can write.
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { describeChanges, layTree, readTar, type FileTree } from './file-tree.ts';

/** Without times, ids and what only the builder's own bookkeeping needs. Fields that are empty are left out. */
export type ConfigFacts = Readonly<Record<string, unknown>>;

export interface ImageFacts {
  readonly config: ConfigFacts;
  /** What there is beyond the base, or otherwise than there: one line per path. */
  readonly files: Readonly<Record<string, string>>;
  /** Paths of the base that are gone; what was below them is not told. */
  readonly removed: readonly string[];
}

/** How the image says it was made: entries beyond those of its base, and how many of them made a layer. */
export interface HistoryFacts {
  readonly entries: number;
  readonly layers: number;
}

const FIELDS = [
  ...['Env', 'Cmd', 'Entrypoint', 'Labels', 'User', 'WorkingDir', 'ExposedPorts', 'Volumes', 'StopSignal'],
  ...['Healthcheck', 'Shell', 'OnBuild'],
];

interface StoredImage {
  readonly config: {
    readonly author?: string;
    readonly config?: Record<string, unknown>;
    readonly history?: readonly { readonly empty_layer?: boolean }[] | null;
  };
  /** Uncompressed, lowest first. */
  readonly layers: readonly Buffer[];
}

/** The image in an archive of `docker save` or a tar of an OCI layout; the first one if there are several. */
export function readImageArchive(path: string): StoredImage {
  const files = new Map<string, Buffer>();
  for (const { entry, content } of readTar(readFileSync(path))) {
    const isLink = entry.type === 'symlink' || entry.type === 'hardlink';
    // docker links a layer that it has written already.
    const bytes = isLink ? files.get(resolveLink(entry.name, entry.linkName)) : content;
    if (bytes !== undefined) files.set(entry.name.replace(/^\.\//, ''), bytes);
  }
  const bytesOf = (name: string): Buffer => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new Error(`${path} has no ${name}`);
    return bytes;
  };
  const json = (name: string): unknown => JSON.parse(bytesOf(name).toString('utf8'));
  const blob = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
  if (files.has('manifest.json')) {
    const [image] = json('manifest.json') as [{ Config: string; Layers: string[] | null }];
    const layers = (image.Layers ?? []).map((name) => inflate(bytesOf(name)));
    return { config: json(image.Config) as StoredImage['config'], layers };
  }
  const index = json('index.json') as { manifests: [{ digest: string }] };
  const manifest = json(blob(index.manifests[0].digest)) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  return {
    config: json(blob(manifest.config.digest)) as StoredImage['config'],
    layers: manifest.layers.map(({ digest }) => inflate(bytesOf(blob(digest)))),
  };
}

/** What the builders have to agree on. */
export function factsOf({ config, layers }: StoredImage, base: FileTree): ImageFacts {
  const facts: Record<string, unknown> = {};
  for (const field of FIELDS) if (!isEmpty(config.config?.[field])) facts[field] = config.config?.[field];
  if (config.author) facts['author'] = config.author;
  return { config: facts, ...describeChanges(layTree(layers), base) };
}

/** One line for each field and path in which two images differ; none when they are the same. */
export function compareFacts(made: ImageFacts, wanted: ImageFacts): string[] {
  const line = (what: string, is: unknown, should: unknown): string =>
    `${what}: is ${JSON.stringify(is)}, should be ${JSON.stringify(should)}`;
  const compare = (what: string, is: Readonly<Record<string, unknown>>, should: typeof is): string[] =>
    [...new Set([...Object.keys(is), ...Object.keys(should)])]
      .filter((key) => !isDeepStrictEqual(is[key], should[key]))
      .map((key) => line(`${what} ${key}`, is[key], should[key]));
  return [
    ...compare('config', made.config, wanted.config),
    ...compare('file', made.files, wanted.files),
    ...(isDeepStrictEqual(made.removed, wanted.removed) ? [] : [line('removed', made.removed, wanted.removed)]),
  ];
}

export function historyOf({ config, layers }: StoredImage): HistoryFacts {
  return { entries: config.history?.length ?? 0, layers: layers.length };
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function resolveLink(name: string, target: string): string {
  const parts = name.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function inflate(bytes: Buffer): Buffer {
  if (bytes.readUInt16BE(0) === 0x1f8b) return gunzipSync(bytes);
  return bytes.readUInt32BE(0) === 0x28b52ffd ? zstdDecompressSync(bytes) : bytes;
}
