// A cache of another registry that is full lets go of what was asked for longest ago: it can be fetched again.
import type { Digest } from '../../oci/digest.ts';
import type { RegistryStore } from './registry-store.ts';
import type { Repository } from './repository.ts';

/** Deletes manifests, with the blobs that only they name, until `maxBytes` are kept; how many. */
export async function evictOldest(store: RegistryStore, maxBytes: number): Promise<number> {
  if (store.storedBytes() <= maxBytes) return 0;
  const uses = new Map<string, Map<Digest, number>>();
  for (const name of store.names()) uses.set(name, countUses(store.repository(name)));
  // What nothing names any more goes first.
  for (const [name, counts] of uses) {
    const blobs = [...(store.repository(name)?.blobs.keys() ?? [])];
    for (const blob of blobs) if (!counts.has(blob)) await store.unlinkBlob(name, blob);
  }
  let count = 0;
  for (const { name, digest, blobs } of byAge(store)) {
    if (store.storedBytes() <= maxBytes) break;
    if (await store.deleteManifest(name, digest)) count += 1;
    for (const blob of blobs) {
      const left = (uses.get(name)?.get(blob) ?? 1) - 1;
      uses.get(name)?.set(blob, left);
      if (left === 0) await store.unlinkBlob(name, blob);
    }
  }
  return count;
}

/** All manifests, the one that was asked for longest ago first; an image is as young as the layer of it that was read last. */
function byAge(store: RegistryStore): { name: string; digest: Digest; blobs: readonly Digest[] }[] {
  const all = store.names().flatMap((name) => {
    const own = store.repository(name);
    return [...(own?.manifests ?? [])].map(([digest, { wantedAtMs, blobs }]) => {
      const read = blobs.map((blob) => own?.blobs.get(blob)?.wantedAtMs ?? 0);
      return { name, digest, blobs, atMs: Math.max(wantedAtMs, ...read) };
    });
  });
  return all.toSorted((a, b) => a.atMs - b.atMs);
}

function countUses(repository: Repository | undefined): Map<Digest, number> {
  const counts = new Map<Digest, number>();
  for (const { blobs } of repository?.manifests.values() ?? []) {
    for (const blob of blobs) counts.set(blob, (counts.get(blob) ?? 0) + 1);
  }
  return counts;
}
