// The contract between the CRI calls and the images of this node.
import type { PeerSource } from '../../oci/distribution/registry-client.ts';
import type { ImageConfig } from '../../oci/manifest.ts';
import type { PrepareOptions, WritableLayer } from '../snapshots/container-store.ts';
import type { LayerLimits } from '../snapshots/layer-quota.ts';
import type { SharedBlob } from './shared-blob.ts';

export interface ImageRecord {
  /** `sha256:...` of the image configuration: what CRI calls the image id. */
  readonly id: string;
  /** Digest of the manifest. */
  readonly manifestDigest: string;
  /** Normalised references with a tag, e.g. `docker.io/library/busybox:latest`. */
  readonly repoTags: readonly string[];
  /** `repository@sha256:...` */
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly layers: readonly { readonly digest: string; readonly sizeBytes: number; readonly diffId: string }[];
  readonly config: ImageConfig;
  /** Not to be removed to free disk space; an explicit remove() still does. */
  readonly isPinned: boolean;
}

export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

export interface PullProgress {
  readonly phase: 'Resolving' | 'Pulling' | 'Unpacking' | 'Done';
  readonly completedBytes: number;
  readonly totalBytes: number;
}

export interface PushProgress {
  readonly phase: 'Pushing' | 'Done';
  readonly completedBytes: number;
  readonly totalBytes: number;
  /** Every blob of the image, its configuration last. */
  readonly layers: readonly {
    readonly digest: string;
    /** Exists and Mounted: not a byte was sent. While it is compressed it goes by the digest that it has here. */
    readonly state: 'Waiting' | 'Compressing' | 'Pushing' | 'Exists' | 'Mounted' | 'Pushed';
    readonly completedBytes: number;
    readonly totalBytes: number;
  }[];
}

export type ExportFormat = 'oci-layout' | 'docker-archive';

/** A writable root file system for one container, mounted. */
export interface RootFilesystem {
  /** Mount point of the overlay. */
  readonly path: string;
  /** Bytes and inodes used by the writable layer. */
  usage(): Promise<{ usedBytes: number; inodes: number }>;
}

export interface ImageService {
  /** Finds an image by id (or unique prefix of 12+ digits), tag, digest or short name; undefined when absent. */
  find(image: string): ImageRecord | undefined;
  list(): readonly ImageRecord[];
  /** Concurrent pulls of one reference are one pull; the abort of one waiter does not end it for the others. */
  pull(
    reference: string,
    auth: RegistryAuth | undefined,
    options: {
      signal: AbortSignal;
      onProgress?: (progress: PullProgress) => void;
      peers?: PeerSource | undefined;
    },
  ): Promise<ImageRecord>;
  import(
    path: string,
    options: { references: readonly string[]; config?: ImageConfig['config']; signal: AbortSignal },
  ): Promise<ImageRecord>;
  /** Pushes an image that is here as `reference`, whatever its names here are; gives the digest of its manifest. */
  push(
    image: string,
    reference: string,
    auth: RegistryAuth | undefined,
    options: { signal: AbortSignal; onProgress?: (progress: PushProgress) => void },
  ): Promise<string>;
  /** One tar with all of `images` (ids or references); an image named by a tag has only that one in it. */
  export(images: readonly string[], format: ExportFormat, signal: AbortSignal): AsyncIterable<Buffer>;
  /** Takes in a file of this file system as a blob that belongs to no image; see openKeptBlobs(). */
  importBlob(path: string, digest: string): Promise<void>;
  /** Declares all such blobs that are to be kept; gives those that are not here. */
  keepBlobs(digests: readonly string[]): Promise<readonly string[]>;
  /** A blob of an image that is here, for others; undefined for anything else. */
  findBlob(digest: string): SharedBlob | undefined;
  tag(image: string, reference: string): Promise<void>;
  untag(reference: string): Promise<void>;
  /** CRI RemoveImage: all references of the image named by any one of them; absent = success. Bytes in use by a container stay until it is gone. */
  remove(image: string): Promise<void>;
  /** Layers unpacked, overlay mounted; the same id twice gives the same file system, as long as the image is the same. */
  prepareRootFilesystem(containerId: string, image: ImageRecord, options?: PrepareOptions): Promise<RootFilesystem>;
  /** Mounts again after a reboot or a lost mount; keeps the writable layer. */
  rootFilesystem(containerId: string): RootFilesystem | undefined;
  writableLayer(containerId: string): WritableLayer | undefined;
  /** Changes the limits of a writable layer where the kernel keeps them; else it is the caller's to watch. */
  limitRootFilesystem(containerId: string, limits: LayerLimits): void;
  /** Containers that have a writable layer; after a reboot some may have no container any more. */
  listRootFilesystems(): readonly string[];
  /** Unmounts and deletes the writable layer; absent = success. */
  removeRootFilesystem(containerId: string): Promise<void>;
  /** Unmounts but keeps the writable layer. */
  unmountRootFilesystem(containerId: string): Promise<void>;
  /** A read-only mounted view of an image's files, reference-counted by `holder`. */
  mountView(image: ImageRecord, holder: string, userNamespace?: string): Promise<string>;
  unmountView(holder: string): Promise<void>;
  /** Who holds a view; after a crash some may be gone. */
  listViewHolders(): readonly string[];
  /** Bytes and inodes used by content and snapshots: CRI ImageFsInfo. */
  usage(): Promise<{ mountpoint: string; usedBytes: number; inodesUsed: number }>;
  recover(): Promise<void>;
}
