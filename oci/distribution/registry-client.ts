// What pulling needs from a registry; created by createRegistryClient().
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

export interface RegistryClient {
  /** The manifest or index a reference means now. NotFound: "manifest unknown". */
  resolve(reference: Reference, call: RegistryCall): Promise<{ descriptor: Descriptor; bytes: Buffer }>;
  /** A manifest by digest, verified. */
  readManifest(reference: Reference, descriptor: Descriptor, call: RegistryCall): Promise<Buffer>;
  /**
   * Makes a blob present in `store`, verified; resumes what an earlier try left, and is shared with other callers of
   * the same digest. `onProgress` gets the bytes of the blob that are there.
   */
  fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    store: ContentStore,
    call: RegistryCall & { readonly onProgress?: (completedBytes: number) => void },
  ): Promise<void>;
  close(): Promise<void>;
}
