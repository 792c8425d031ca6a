// Brings an image from a path into the content store: an OCI layout (folder or tar), a docker-archive (what `docker
// save` writes), or a root file system (folder or tar), which becomes an image of one layer.
import { createReadStream, statSync } from 'node:fs';
import { z } from 'zod';
import { errnoOf, messageOf, WindlassError } from '../../lib/errors.ts';
import { REF_NAME, type ContentStore } from '../content-store.ts';
import type { StagedBlob } from '../ingest.ts';
import { digestOf, type Digest } from '../digest.ts';
import { decompress, detectCompression } from '../layers/unpack.ts';
import type { FileSystemCalls } from '../layers/file-system-calls.ts';
import {
  MANIFEST_LIMITS,
  parseImageConfig,
  parseManifest,
  type Descriptor,
  type Manifest,
  type Platform,
  type RunConfig,
} from '../manifest.ts';
import { MEDIA_TYPES, type Compression } from '../media-types.ts';
import { selectManifest } from '../platform.ts';
import { parseReference } from '../reference.ts';
import { folderFiles, readArchiveFile, scanTar, type ArchiveFiles } from './archive-files.ts';
import { tarOfFolder } from './folder-tar.ts';

export interface ImportOptions {
  readonly platform: Platform;
  /** Run configuration of a root file system; the other forms have their own. */
  readonly config?: RunConfig;
  /** Chooses among several images in one docker-archive. */
  readonly references: readonly string[];
  /** Told of every digest before it is looked for or written, so that no sweep takes it. */
  readonly protect: (digest: Digest) => void;
  readonly signal: AbortSignal;
}

export interface ImportedImage {
  readonly manifest: Descriptor;
  /** References the archive itself names, in normal form. */
  readonly references: readonly string[];
}

/** Imports what lies at `path`. NotFound when nothing is there, Invalid when it is no image. */
export async function importImage(
  store: ContentStore,
  calls: FileSystemCalls,
  path: string,
  options: ImportOptions,
): Promise<ImportedImage> {
  const kind = pathKind(path);
  if (kind === 'folder') {
    const files = folderFiles(path);
    if (isLayout(files)) return await importLayout(store, files, options);
    if (files.has('manifest.json')) return await importDockerArchive(store, files, options);
    return await importRootFilesystem(store, await store.stage(tarOfFolder(path, calls, options.signal)), options);
  }
  const compression = await detectCompression(path);
  if (compression === 'none') {
    const files = await scanTar(path, options.signal);
    if (isLayout(files)) return await importLayout(store, files, options);
    if (files.has('manifest.json')) return await importDockerArchive(store, files, options);
    const source = createReadStream(path, { highWaterMark: 1024 * 1024 });
    return await importRootFilesystem(store, await store.stage(source), options);
  }
  const staged = await store.stage(inflated(path, compression));
  try {
    const files = await scanTar(staged.path, options.signal);
    if (isLayout(files)) return await importLayout(store, files, options);
    if (files.has('manifest.json')) return await importDockerArchive(store, files, options);
    return await importRootFilesystem(store, staged, options);
  } finally {
    await staged.discard();
  }
}

async function importLayout(store: ContentStore, files: ArchiveFiles, options: ImportOptions): Promise<ImportedImage> {
  const top = await readArchiveFile(files, 'index.json', MANIFEST_LIMITS.manifestBytes);
  const topDescriptor: Descriptor = { mediaType: MEDIA_TYPES.ociIndex, digest: digestOf(top), size: top.length };
  const read = async (descriptor: Descriptor): Promise<Buffer> => {
    if (descriptor === topDescriptor) return top;
    await copyBlob(store, files, descriptor, options);
    return await store.read(descriptor.digest, MANIFEST_LIMITS.manifestBytes);
  };
  const { descriptor, manifest } = await selectManifest(topDescriptor, read, options.platform);
  for (const blob of [manifest.config, ...manifest.layers]) await copyBlob(store, files, blob, options);
  parseImageConfig(
    await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes),
    manifest,
    `config ${manifest.config.digest}`,
  );
  const parsed = parseManifest(top, MEDIA_TYPES.ociIndex, 'index.json');
  const entries = parsed.kind === 'index' ? parsed.index.manifests : [];
  const entry =
    entries.find(({ digest }) => digest === descriptor.digest) ?? (entries.length === 1 ? entries[0] : undefined);
  const names = [entry?.annotations?.['io.containerd.image.name'], entry?.annotations?.[REF_NAME]];
  return { manifest: plain(descriptor), references: fullReferences(names) };
}

async function copyBlob(
  store: ContentStore,
  files: ArchiveFiles,
  descriptor: Descriptor,
  { protect, signal }: ImportOptions,
): Promise<void> {
  protect(descriptor.digest);
  if (store.has(descriptor.digest, descriptor.size)) return;
  const { stream } = files.open(`blobs/${descriptor.digest.replace(':', '/')}`);
  await using ingest = disposable(await store.openIngest(descriptor.digest, descriptor.size));
  await ingest.value.reset();
  for await (const chunk of stream) {
    signal.throwIfAborted();
    await ingest.value.write(chunk as Buffer);
  }
  await ingest.value.commit();
}

const dockerManifestSchema = z
  .array(
    z.object({
      Config: z.string(),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string()).max(MANIFEST_LIMITS.layers).nullish(),
    }),
  )
  .min(1);

async function importDockerArchive(
  store: ContentStore,
  files: ArchiveFiles,
  options: ImportOptions,
): Promise<ImportedImage> {
  const text = await readArchiveFile(files, 'manifest.json', MANIFEST_LIMITS.manifestBytes);
  const images = parseDockerManifest(text, files.path);
  const wanted = new Set(fullReferences(options.references));
  const chosen = images.find(({ RepoTags }) => fullReferences(RepoTags ?? []).some((name) => wanted.has(name)));
  const image = chosen ?? (images[0] as (typeof images)[number]);
  const config = await readArchiveFile(files, image.Config, MANIFEST_LIMITS.configBytes);
  const layers: Descriptor[] = [];
  for (const name of image.Layers ?? []) {
    options.signal.throwIfAborted();
    const staged = await store.stage(files.open(name).stream);
    options.protect(staged.digest);
    const compression = await detectCompression(staged.path);
    await staged.keep();
    layers.push({ mediaType: layerType(compression), digest: staged.digest, size: staged.sizeBytes });
  }
  const configDescriptor = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(config), size: config.length };
  const manifest = await putManifest(store, configDescriptor, layers, config, options);
  return { manifest, references: fullReferences(image.RepoTags ?? []) };
}

async function importRootFilesystem(
  store: ContentStore,
  staged: StagedBlob,
  options: ImportOptions,
): Promise<ImportedImage> {
  // No time of creation: the same files and configuration are the same image.
  const config = Buffer.from(
    JSON.stringify({
      architecture: options.platform.architecture,
      os: options.platform.os,
      ...(options.platform.variant === undefined ? {} : { variant: options.platform.variant }),
      config: options.config ?? {},
      rootfs: { type: 'layers', diff_ids: [staged.digest] },
      history: [{ created_by: 'windlass import' }],
    }),
  );
  options.protect(staged.digest);
  await staged.keep();
  const layer = { mediaType: layerType('none'), digest: staged.digest, size: staged.sizeBytes };
  const configDescriptor = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(config), size: config.length };
  return { manifest: await putManifest(store, configDescriptor, [layer], config, options), references: [] };
}

async function putManifest(
  store: ContentStore,
  config: Descriptor,
  layers: readonly Descriptor[],
  configBytes: Buffer,
  { protect }: ImportOptions,
): Promise<Descriptor> {
  const manifest: Manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [...layers] };
  parseImageConfig(configBytes, manifest, `config ${config.digest}`);
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  protect(config.digest);
  protect(digest);
  await store.put(configBytes);
  await store.put(bytes);
  return { mediaType: MEDIA_TYPES.ociManifest, digest, size: bytes.length };
}

function parseDockerManifest(text: Buffer, path: string): z.infer<typeof dockerManifestSchema> {
  let document: unknown;
  try {
    document = JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw new WindlassError('Invalid', `manifest.json in ${path} is not JSON`, { cause: error });
  }
  const result = dockerManifestSchema.safeParse(document);
  if (result.success) return result.data;
  throw new WindlassError(
    'Invalid',
    `manifest.json in ${path} is not that of a docker archive: ${messageOf(result.error)}`,
  );
}

async function* inflated(path: string, compression: Compression): AsyncGenerator<Buffer> {
  try {
    yield* decompress(createReadStream(path, { highWaterMark: 1024 * 1024 }), compression);
  } catch (error) {
    throw new WindlassError('Invalid', `${path} is damaged: ${messageOf(error)}`, { cause: error });
  }
}

function isLayout(files: ArchiveFiles): boolean {
  return files.has('oci-layout') && files.has('index.json');
}

function pathKind(path: string): 'file' | 'folder' {
  try {
    const found = statSync(path);
    if (found.isDirectory()) return 'folder';
    if (found.isFile()) return 'file';
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error;
    throw new WindlassError('NotFound', `nothing to import: ${path} does not exist`, { cause: error });
  }
  throw new WindlassError('Invalid', `cannot import ${path}: not a file or folder`);
}

function layerType(compression: Compression): string {
  return compression === 'none' ? MEDIA_TYPES.ociLayer : `${MEDIA_TYPES.ociLayer}+${compression}`;
}

/** Those names that are whole references; a layout often says only a tag. */
function fullReferences(names: readonly (string | undefined)[]): string[] {
  const references = new Set<string>();
  for (const name of names) {
    if (name === undefined || !/[/:]/.test(name)) continue;
    try {
      const { registry, repository, tag } = parseReference(name);
      references.add(`${registry}/${repository}:${tag ?? 'latest'}`);
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
    }
  }
  return [...references];
}

function plain({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function disposable<T extends { close(): Promise<void> }>(value: T): AsyncDisposable & { value: T } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
