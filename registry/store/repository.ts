// What one repository holds: which blobs and manifests it may hand out, and what its tags mean. Bytes are in the content
// store, shared by all repositories; a repository only has what it is linked to.
import type { Digest } from '../../oci/digest.ts';

export interface BlobLink {
  readonly sizeBytes: number;
  /** When somebody last pushed it, mounted it or asked whether it is there; ms since the epoch. */
  wantedAtMs: number;
  /** The same, as the disk has it. */
  notedAtMs: number;
}

/** What is known of a manifest without reading it again. */
export interface ManifestLink {
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** The manifest it says something about. */
  readonly subject?: Digest;
  /** What it is, as the referrers list says it. */
  readonly artifactType?: string;
  /** Config and layers. */
  readonly blobs: readonly Digest[];
  /** Manifests of an index. */
  readonly manifests: readonly Digest[];
  wantedAtMs: number;
  notedAtMs: number;
}

export interface Repository {
  readonly name: string;
  readonly blobs: ReadonlyMap<Digest, BlobLink>;
  readonly manifests: ReadonlyMap<Digest, ManifestLink>;
  readonly tags: ReadonlyMap<string, Digest>;
  /** Manifests by what they are about. */
  readonly referrers: ReadonlyMap<Digest, ReadonlySet<Digest>>;
  /** Bytes of it all, each blob counted once. */
  readonly sizeBytes: number;
}

/** The manifest a tag or digest means here. */
export function findManifest(repository: Repository | undefined, tagOrDigest: string): Digest | undefined {
  const digest = (repository?.tags.get(tagOrDigest) ?? tagOrDigest) as Digest;
  return repository?.manifests.has(digest) ? digest : undefined;
}

/** Blobs that some manifest of the repository names. */
export function namedBlobs(repository: Repository): Set<Digest> {
  return new Set([...repository.manifests.values()].flatMap(({ blobs }) => blobs));
}
