// Image records from the content store's index: pure functions over its entries and the documents they name.
import { REF_NAME } from '../../oci/content-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor, ImageConfig, Manifest } from '../../oci/manifest.ts';
import { formatReference, parseReference, type Reference } from '../../oci/reference.ts';
import type { ImageRecord } from './image-service.ts';

/** The parsed documents of one image. */
export interface LoadedImage {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

/** The reference an entry gives its image; undefined for an image kept without a name. */
export function entryName(entry: Descriptor): string | undefined {
  return entry.annotations?.[REF_NAME];
}

/** An entry that names `image`, or keeps it without a name. */
export function makeEntry({ mediaType, digest, size }: Descriptor, name?: string): Descriptor {
  return { mediaType, digest, size, ...(name === undefined ? {} : { annotations: { [REF_NAME]: name } }) };
}

/**
 * The index after `image` got `names`: each name moves to it; an image that loses its last name that way stays,
 * without one, as docker's dangling images do.
 */
export function addNames(
  entries: readonly Descriptor[],
  image: Descriptor,
  names: readonly string[],
): readonly Descriptor[] {
  const moved = new Set(names);
  const kept = entries.filter((entry) => {
    const name = entryName(entry);
    return name === undefined ? entry.digest !== image.digest || names.length === 0 : !moved.has(name);
  });
  const added = names.length === 0 && kept.every(({ digest }) => digest !== image.digest) ? [makeEntry(image)] : [];
  const named = new Set([...kept, image].map(({ digest }) => digest));
  const orphans = new Map(entries.filter(({ digest }) => !named.has(digest)).map((entry) => [entry.digest, entry]));
  return [
    ...kept,
    ...added,
    ...names.map((name) => makeEntry(image, name)),
    ...[...orphans.values()].map((entry) => makeEntry(entry)),
  ];
}

/** Whether each of `names` means `image`; with none, whether it is kept at all. */
export const hasNames = (entries: readonly Descriptor[], image: Descriptor, names: readonly string[]): boolean =>
  names.length === 0
    ? entries.some(({ digest }) => digest === image.digest)
    : names.every((name) => entries.some((entry) => entryName(entry) === name && entry.digest === image.digest));

/**
 * The index without `name`. When the last tag of a repository goes, so do the names by digest that this repository
 * gave the same image.
 */
export function removeName(entries: readonly Descriptor[], name: string): readonly Descriptor[] {
  const removed = entries.find((entry) => entryName(entry) === name);
  if (!removed) return entries;
  const rest = entries.filter((entry) => entry !== removed);
  const repository = repositoryOf(name);
  const sameRepository = (entry: Descriptor): boolean =>
    entry.digest === removed.digest && repositoryOf(entryName(entry)) === repository;
  if (rest.some((entry) => sameRepository(entry) && !entryName(entry)?.includes('@'))) return rest;
  return rest.filter((entry) => !sameRepository(entry));
}

/** One record per image id; manifests that share a configuration are one image. */
export function buildRecords(
  entries: readonly Descriptor[],
  images: ReadonlyMap<Digest, LoadedImage>,
  pinned: readonly string[] = [],
): readonly ImageRecord[] {
  const byId = new Map<string, { image: LoadedImage; names: Set<string> }>();
  for (const entry of entries) {
    const image = images.get(entry.digest);
    if (!image) continue;
    const id = image.manifest.config.digest;
    const known = byId.get(id) ?? { image, names: new Set<string>() };
    const name = entryName(entry);
    if (name !== undefined) known.names.add(name);
    byId.set(id, known);
  }
  return [...byId.values()].map(({ image, names }) => toRecord(image, [...names].toSorted(), pinned));
}

/** The image that `text` means: an id, a reference, a repository with digest, or 12 and more digits of an id. */
export function findRecord(records: readonly ImageRecord[], text: string): ImageRecord | undefined {
  const byId = records.find(({ id, manifestDigest }) => id === text || manifestDigest === text);
  if (byId) return byId;
  const reference = tryParse(text);
  if (reference) {
    const name = formatReference(reference);
    const byName = records.find(({ repoTags, repoDigests }) => repoTags.includes(name) || repoDigests.includes(name));
    if (byName) return byName;
  }
  const hex = text.startsWith('sha256:') ? text.slice(7) : text;
  if (!/^[0-9a-f]{12,64}$/.test(hex)) return undefined;
  const matches = records.filter(({ id }) => id.startsWith(`sha256:${hex}`));
  return matches.length === 1 ? matches[0] : undefined;
}

/** The tag of the image by which it was asked for, if it was one. */
export function tagMeant(text: string, { repoTags }: ImageRecord): string | undefined {
  const reference = tryParse(text);
  const name = reference && formatReference(reference);
  return name !== undefined && repoTags.includes(name) ? name : undefined;
}

function toRecord(
  { descriptor, manifest, config }: LoadedImage,
  names: readonly string[],
  pinned: readonly string[],
): ImageRecord {
  return {
    id: manifest.config.digest,
    manifestDigest: descriptor.digest,
    repoTags: names.filter((name) => !name.includes('@')),
    repoDigests: names.filter((name) => name.includes('@')),
    sizeBytes: manifest.layers.reduce((sum, { size }) => sum + size, manifest.config.size + descriptor.size),
    platform: {
      os: config.os,
      architecture: config.architecture,
      ...(config.variant === undefined ? {} : { variant: config.variant }),
    },
    layers: manifest.layers.map(({ digest, size }, index) => ({
      digest,
      sizeBytes: size,
      diffId: config.rootfs.diff_ids[index] as Digest,
    })),
    config,
    isPinned: names.some((name) => pinned.includes(name)),
  };
}

function repositoryOf(name: string | undefined): string | undefined {
  const reference = name === undefined ? undefined : tryParse(name);
  return reference && `${reference.registry}/${reference.repository}`;
}

function tryParse(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    // Not a reference is an expected outcome here: the text may be an id.
    return undefined;
  }
}
