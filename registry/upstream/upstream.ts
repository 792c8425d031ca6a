// A registry that this one is a cache of.
import type { Digest } from '../../oci/digest.ts';

export interface Upstream {
  /** Its host, as references name it. */
  readonly registry: string;
  /** Brings what a tag or digest means now, if it is there; throws when that cannot be told. */
  fetchManifest(repository: string, tagOrDigest: string, signal: AbortSignal): Promise<void>;
  /** Brings a blob of a manifest that was fetched, if it is there. */
  fetchBlob(repository: string, digest: Digest, signal: AbortSignal): Promise<void>;
}
