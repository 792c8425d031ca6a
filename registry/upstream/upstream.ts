// A registry that this one is a cache of.
import type { Digest } from '../../oci/digest.ts';
import type { Arrival } from './blob-stream.ts';

export interface Upstream {
  /** Its host, as references name it. */
  readonly registry: string;
  /** Brings what a tag or digest means now, if it is there; throws when that cannot be told. */
  fetchManifest(repository: string, tagOrDigest: string, signal: AbortSignal): Promise<void>;
  /** Size of a blob that a manifest of the repository names; undefined = nobody may ask for it here. */
  sizeOf(repository: string, digest: Digest): Promise<number | undefined>;
  /**
   * Begins to bring a blob of a manifest that was fetched, or joins who does. Resolves when its first bytes are here, or
   * all of it; undefined when it is not there. `signal` ends the interest of this caller.
   */
  fetchBlob(repository: string, digest: Digest, signal: AbortSignal): Promise<Arrival | undefined>;
}
