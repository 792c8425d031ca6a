// What pulling and pushing need from a registry; created by createRegistryClient().
import type { ContentStore } from '../content-store.ts';
import type { Descriptor } from '../manifest.ts';
import type { Reference } from '../reference.ts';

export interface RegistryCredentials {
  readonly username?: string;
  readonly password?: string;
  /** OAuth2 refresh token, traded for access tokens. */
  readonly identityToken?: string;
  /** Access token that is sent as it is. */
  readonly registryToken?: string;
}

export interface RegistryCall {
  readonly credentials?: RegistryCredentials | undefined;
  readonly signal: AbortSignal;
}

export interface BlobCall extends RegistryCall {
  /** Gets the bytes of the blob that are there. */
  readonly onProgress?: (completedBytes: number) => void;
}

export interface PushBlobCall extends BlobCall {
  /** Repositories of the same registry that may have the blob: asked to share it before any byte is sent. */
  readonly mountFrom: readonly string[];
}

export type PushedBlob = 'exists' | 'mounted' | 'uploaded';

export interface RegistryClient {
  /** The manifest or index a reference means now. NotFound: "manifest unknown". */
  resolve(reference: Reference, call: RegistryCall): Promise<{ descriptor: Descriptor; bytes: Buffer }>;
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
