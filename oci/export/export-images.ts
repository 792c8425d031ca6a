// Images as one tar stream: an OCI layout with the stored bytes as they are, or a docker-archive (what `docker load`
// takes), whose layers are uncompressed because older readers know no other.
import { createReadStream } from 'node:fs';
import type { ContentStore } from '../content-store.ts';
import { digestMismatch, finishDigest, hasherFor, splitDigest, type Digest } from '../digest.ts';
import { decompress } from '../layers/unpack.ts';
import { encodeTarHeader, endOfArchive, paddingFor } from '../layers/tar-writer.ts';
import { MANIFEST_LIMITS, type Descriptor, type ImageConfig, type Manifest } from '../manifest.ts';
import { layerCompression, MEDIA_TYPES } from '../media-types.ts';
import { parseReference } from '../reference.ts';

export interface ExportedImage {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** References with a tag, in normal form. */
  readonly references: readonly string[];
}

const CHUNK = 1024 * 1024;

/** The images as an OCI image layout; equal blobs are in it once. */
export async function* exportLayout(
  store: ContentStore,
  images: readonly ExportedImage[],
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  yield* smallFile('oci-layout', '{"imageLayoutVersion":"1.0.0"}');
  const manifests = images.flatMap(({ descriptor: { mediaType, digest, size }, references }) => {
    if (references.length === 0) return [{ mediaType, digest, size }];
    return references.map((name) => {
      const annotations = {
        // containerd reads the whole name, everybody else the tag.
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': parseReference(name).tag ?? 'latest',
      };
      return { mediaType, digest, size, annotations };
    });
  });
  yield* smallFile('index.json', JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }));
  const blobs = new Map<Digest, Descriptor>();
  for (const { descriptor, manifest } of images) {
    for (const blob of [descriptor, manifest.config, ...manifest.layers]) blobs.set(blob.digest, blob);
  }
  for (const folder of ['blobs/', ...new Set([...blobs.keys()].map((digest) => `${blobFolder(digest)}/`))]) {
    yield encodeTarHeader({ name: folder, type: 'directory', mode: 0o755 });
  }
  for (const { digest, size } of blobs.values()) {
    signal.throwIfAborted();
    yield encodeTarHeader({
      name: `${blobFolder(digest)}/${splitDigest(digest).hex}`,
      type: 'file',
      mode: 0o644,
      size,
    });
    yield* blobBytes(store, digest);
    yield paddingFor(size);
  }
  yield endOfArchive();
}

/** The images as a docker-archive; layers that are equal when uncompressed are in it once. */
export async function* exportDockerArchive(
  store: ContentStore,
  images: readonly ExportedImage[],
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const written = new Set<Digest>();
  const entries: object[] = [];
  for (const { manifest, config, references } of images) {
    const diffIds = config.rootfs.diff_ids;
    for (const [index, layer] of manifest.layers.entries()) {
      const diffId = diffIds[index] as Digest;
      if (written.has(diffId)) continue;
      written.add(diffId);
      yield* layerFile(store, layer, diffId, signal);
    }
    const configName = `${splitDigest(manifest.config.digest).hex}.json`;
    if (!written.has(manifest.config.digest)) {
      written.add(manifest.config.digest);
      yield* smallFile(configName, await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes));
    }
    entries.push({ Config: configName, RepoTags: references.map(familiarName), Layers: diffIds.map(layerName) });
  }
  yield* smallFile('manifest.json', JSON.stringify(entries));
  yield endOfArchive();
}

/** A tar names a file's size before its bytes, so a compressed layer is inflated twice: to count, then to send. */
async function* layerFile(
  store: ContentStore,
  layer: Descriptor,
  diffId: Digest,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const compression = layerCompression(layer.mediaType) ?? 'none';
  const open = (): AsyncIterable<Buffer> =>
    decompress(createReadStream(store.blobPath(layer.digest), { highWaterMark: CHUNK }), compression);
  let size = layer.size;
  if (compression !== 'none') {
    size = 0;
    const hash = hasherFor(diffId);
    for await (const chunk of open()) {
      signal.throwIfAborted();
      hash.update(chunk);
      size += chunk.length;
    }
    const found = finishDigest(hash, diffId);
    if (found !== diffId) throw digestMismatch(`layer ${layer.digest}`, diffId, found);
  }
  yield encodeTarHeader({ name: layerName(diffId), type: 'file', mode: 0o644, size });
  for await (const chunk of open()) {
    signal.throwIfAborted();
    yield chunk;
  }
  yield paddingFor(size);
}

const layerName = (diffId: Digest): string => `${splitDigest(diffId).hex}/layer.tar`;
const blobFolder = (digest: Digest): string => `blobs/${splitDigest(digest).algorithm}`;

/** `docker.io/library/busybox:1` as docker writes it: `busybox:1`. */
function familiarName(reference: string): string {
  return reference.replace(/^docker\.io\/(?:library\/(?=[^/]+$))?/, '');
}

async function* blobBytes(store: ContentStore, digest: Digest): AsyncGenerator<Buffer> {
  yield* createReadStream(store.blobPath(digest), { highWaterMark: CHUNK }) as AsyncIterable<Buffer>;
}

function* smallFile(name: string, content: string | Buffer): Generator<Buffer> {
  const bytes = Buffer.from(content);
  yield encodeTarHeader({ name, type: 'file', mode: 0o644, size: bytes.length });
  yield bytes;
  yield paddingFor(bytes.length);
}
