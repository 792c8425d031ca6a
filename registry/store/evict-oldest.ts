// A cache of another registry that is full lets go of what was asked for longest ago: it can be fetched again.
import type { Digest } from '../../oci/digest.ts';
import type { RegistryStore } from './registry-store.ts';
import { namedBlobs } from './repository.ts';

/** Deletes manifests, with the blobs that only they name, until `maxBytes` are kept; how many. */
export async function evictOldest(store: RegistryStore, maxBytes: number): Promise<number> {
  if (store.storedBytes() <= maxBytes) return 0;
  const all = store.names().flatMap((name) =>
    [...(store.repository(name)?.manifests ?? [])].map(([digest, { wantedAtMs, blobs }]) => ({
      ...{ name, digest, blobs },
      // An image is as young as the layer of it that was read last.
      wantedAtMs: Math.max(
        wantedAtMs,
        ...blobs.map((blob) => store.repository(name)?.blobs.get(blob)?.wantedAtMs ?? 0),
      ),
    })),
  );
  let count = 0;
  for (const { name, digest, blobs } of all.toSorted((a, b) => a.wantedAtMs - b.wantedAtMs)) {
    if (store.storedBytes() <= maxBytes) break;
    if (await store.deleteManifest(name, digest)) count += 1;
    await unlinkAll(store, name, blobs);
  }
  return count;
}

async function unlinkAll(store: RegistryStore, name: string, blobs: readonly Digest[]): Promise<void> {
  const repository = store.repository(name);
  const named = repository ? namedBlobs(repository) : new Set();
  for (const blob of blobs) if (!named.has(blob)) await store.unlinkBlob(name, blob);
}
