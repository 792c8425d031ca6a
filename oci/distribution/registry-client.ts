// What pulling and pushing need from a registry; created by createRegistryClient().
import type { ContentStore } from '../content-store.ts';
import type { Digest } from '../digest.ts';
import type { Descriptor } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import type { ImagePeers } from './image-peers.ts';

export interface RegistryCredentials {
  readonly username?: string;
  readonly password?: string;
  /** OAuth2 refresh token, traded for access tokens. */
  readonly identityToken?: string;
  /** Access token that is sent as it is. */
  readonly registryToken?: string;
}

/** Other nodes that are asked for an image before its registry. */
export interface PeerSource {
  /** Unix socket at which somebody answers for them: see createPeerTransport(). */
  readonly socket: string;
  /** Nodes that should have the image. */
  readonly first: readonly string[];
  /** Of the manifest, where it is known what the reference means. */
  readonly digest?: Digest;
  /** No registry has this image. */
  readonly only: boolean;
}

export interface RegistryCall {
  readonly credentials?: RegistryCredentials | undefined;
  readonly signal: AbortSignal;
}

export interface BlobCall extends RegistryCall {
  /** Asked before the endpoints of the registry. */
  readonly peers?: ImagePeers | undefined;
  /** Gets the bytes of the blob that are there. */
  readonly onProgress?: (completedBytes: number) => void;
}

export interface PushBlobCall extends BlobCall {
  /** Repositories of the same registry that may have the blob: asked to share it before any byte is sent. */
  readonly mountFrom: readonly string[];
  /** Makes the bytes present in the store; called when they are about to be sent. */
  readonly prepare?: () => Promise<void>;
}

export type PushedBlob = 'exists' | 'mounted' | 'uploaded';

export interface RegistryClient {
  /** The manifest or index a reference means now. NotFound: "manifest unknown". */
  resolve(reference: Reference, call: RegistryCall): Promise<{ descriptor: Descriptor; bytes: Buffer }>;
  /** The digest of what a reference means now, without its bytes; undefined when the registry does not say. */
  currentDigest(reference: Reference, call: RegistryCall): Promise<Digest | undefined>;
  /** Other nodes as a source, for one pull. */
  peersFor(source: PeerSource): Promise<ImagePeers>;
  /** A manifest by digest, verified. */
  readManifest(reference: Reference, descriptor: Descriptor, call: RegistryCall): Promise<Buffer>;
  /**
   * Makes a blob present in `store`, verified; resumes what an earlier try left, and is shared with other callers of
   * the same digest.
   */
  fetchBlob(reference: Reference, descriptor: Descriptor, store: ContentStore, call: BlobCall): Promise<void>;
  /** Makes a blob of `store` present in the repository; no byte is sent when it is, or can be mounted from another. */
  pushBlob(reference: Reference, descriptor: Descriptor, store: ContentStore, call: PushBlobCall): Promise<PushedBlob>;
  /** Puts the manifest under the tag (or digest) of `reference`, byte for byte. Its blobs must be there. */
  pushManifest(reference: Reference, descriptor: Descriptor, bytes: Buffer, call: RegistryCall): Promise<void>;
  close(): Promise<void>;
}
