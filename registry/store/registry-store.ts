// The repositories of a registry over one content store. Reads are answered from memory; a change is on the disk before
// it is seen. One process owns a store. Blobs that no repository is linked to are free to go, except those that are held:
// whoever brings a blob holds its digest from before it looks for the bytes until the link stands.
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { createKeyedQueue } from '../../lib/keyed-queue.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import type { Digest } from '../../oci/digest.ts';
import { refuse } from '../oci-errors.ts';
import { openLinkFiles, serializeManifestLink } from './link-files.ts';
import { namedBlobs, type BlobLink, type ManifestLink, type Repository } from './repository.ts';

/** A touch goes to the disk when the one that is there is older than this: a restart may forget that much. */
const TOUCH_MS = 60_000;

export interface NewManifest extends Omit<ManifestLink, 'wantedAtMs'> {
  readonly digest: Digest;
  readonly tags: readonly string[];
  /** Take it although config or layers are not in the repository. */
  readonly isSparse: boolean;
}

export interface RegistryStore {
  readonly content: ContentStore;
  /** Names of the repositories that hold something, sorted. */
  names(): readonly string[];
  repository(name: string): Repository | undefined;
  /** Bytes of everything that some repository is linked to. */
  storedBytes(): number;
  /** Keeps a digest from being swept until the returned handle is disposed. */
  hold(digest: Digest): Disposable;
  /** Gives the repository a blob whose bytes are in the content store. Its digest must be held. */
  linkBlob(name: string, digest: Digest): Promise<void>;
  /** Notes that somebody relies on a blob or manifest of the repository being there. */
  want(name: string, digest: Digest): void;
  /** False when the repository does not have it. */
  unlinkBlob(name: string, digest: Digest): Promise<boolean>;
  /** Puts a manifest whose bytes are in the content store. MANIFEST_BLOB_UNKNOWN names the blobs that are missing. */
  putManifest(name: string, manifest: NewManifest): Promise<void>;
  /** Removes a manifest and the tags that mean it; false when it is not there. */
  deleteManifest(name: string, digest: Digest): Promise<boolean>;
  deleteTag(name: string, tag: string): Promise<boolean>;
  /** Unlinks the blobs of a repository that no manifest names and nobody has wanted since `beforeMs`. */
  unlinkUnnamed(name: string, beforeMs: number): Promise<number>;
  /** Removes manifests that no tag, index or subject leads to and nobody has wanted since `beforeMs`. */
  deleteUntagged(name: string, beforeMs: number): Promise<number>;
  /** Whether a repository is linked to these bytes, or somebody holds them. */
  isLive(digest: Digest): boolean;
}

interface OwnRepository extends Repository {
  readonly blobs: Map<Digest, BlobLink>;
  readonly manifests: Map<Digest, ManifestLink>;
  readonly tags: Map<string, Digest>;
}

/** Reads what is below `content.root`. */
export function openRegistryStore(
  content: ContentStore,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): RegistryStore {
  const files = openLinkFiles(content.root);
  const queue = createKeyedQueue();
  const repositories = new Map<string, OwnRepository>();
  const links = createCounts();
  const holds = createCounts();
  let storedBytes = 0;

  load();

  function load(): void {
    const found = files.load((file, problem) => log.error({ file, problem }, 'left out a damaged file'));
    for (const { name, blobs, manifests, tags } of found) {
      const own: OwnRepository = { name, blobs: new Map(), manifests: new Map(), tags: new Map() };
      for (const [digest, wantedAtMs] of blobs) {
        const sizeBytes = content.sizeOf(digest);
        if (sizeBytes === undefined) log.error({ repository: name, digest }, 'left out a blob that has no bytes');
        else own.blobs.set(digest, { sizeBytes, wantedAtMs });
      }
      for (const [digest, link] of manifests) {
        if (content.has(digest, link.sizeBytes)) own.manifests.set(digest, link);
        else log.error({ repository: name, digest }, 'left out a manifest that has no bytes');
      }
      for (const [tag, digest] of tags) if (own.manifests.has(digest)) own.tags.set(tag, digest);
      for (const [digest, { sizeBytes }] of [...own.blobs, ...own.manifests]) link(digest, sizeBytes);
      if (!isEmpty(own)) repositories.set(name, own);
    }
  }

  function link(digest: Digest, sizeBytes: number): void {
    if (!links.has(digest)) storedBytes += sizeBytes;
    links.add(digest);
  }
  function unlink(digest: Digest, sizeBytes: number): void {
    links.remove(digest);
    if (!links.has(digest)) storedBytes -= sizeBytes;
  }
  const open = (name: string): OwnRepository => {
    const found = repositories.get(name);
    if (found) return found;
    const made: OwnRepository = { name, blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, made);
    return made;
  };
  const forgetIfEmpty = (name: string): void => {
    const own = repositories.get(name);
    if (own && isEmpty(own)) repositories.delete(name);
  };

  async function unlinkBlob(own: OwnRepository, digest: Digest): Promise<void> {
    await files.remove(own.name, '_blobs', digest);
    unlink(digest, own.blobs.get(digest)?.sizeBytes ?? 0);
    own.blobs.delete(digest);
    forgetIfEmpty(own.name);
  }
  async function deleteTag(own: OwnRepository, tag: string): Promise<void> {
    await files.remove(own.name, '_tags', tag);
    own.tags.delete(tag);
  }
  async function deleteManifest(own: OwnRepository, digest: Digest): Promise<void> {
    // Tags first: a tag that means nothing would be left else.
    for (const [tag, meant] of own.tags) if (meant === digest) await deleteTag(own, tag);
    await files.remove(own.name, '_manifests', digest);
    unlink(digest, own.manifests.get(digest)?.sizeBytes ?? 0);
    own.manifests.delete(digest);
    forgetIfEmpty(own.name);
  }

  return {
    content,
    names: () => [...repositories.keys()].toSorted(),
    repository: (name) => repositories.get(name),
    storedBytes: () => storedBytes,
    hold(digest) {
      holds.add(digest);
      return { [Symbol.dispose]: () => holds.remove(digest) };
    },
    linkBlob: (name, digest) =>
      queue.run(name, async () => {
        const sizeBytes = content.sizeOf(digest);
        if (sizeBytes === undefined) throw refuse('BLOB_UNKNOWN', `blob ${digest} is not in the store`);
        const wantedAtMs = clock.now();
        if (!repositories.get(name)?.blobs.has(digest)) await files.write(name, '_blobs', digest, '');
        const own = open(name);
        if (!own.blobs.has(digest)) link(digest, sizeBytes);
        own.blobs.set(digest, { sizeBytes, wantedAtMs });
      }),
    want(name, digest) {
      const own = repositories.get(name);
      for (const [kind, link] of [
        ['_blobs', own?.blobs.get(digest)],
        ['_manifests', own?.manifests.get(digest)],
      ] as const) {
        if (!link) continue;
        const now = clock.now();
        const isDue = now - link.wantedAtMs > TOUCH_MS;
        link.wantedAtMs = now;
        if (!isDue) continue;
        files.touch(name, kind, digest, now).catch((err: unknown) => log.warn({ err }, 'failed to note a wanted blob'));
      }
    },
    unlinkBlob: (name, digest) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own?.blobs.has(digest)) return false;
        await unlinkBlob(own, digest);
        return true;
      }),
    putManifest: (name, { digest, tags, isSparse, ...manifest }) =>
      queue.run(name, async () => {
        const missing = isSparse ? [] : manifest.blobs.filter((blob) => !repositories.get(name)?.blobs.has(blob));
        if (missing.length > 0) {
          const message = `manifest ${digest} names blobs that repository ${name} does not have: ${missing.join(', ')}`;
          throw refuse('MANIFEST_BLOB_UNKNOWN', message);
        }
        const record: ManifestLink = { ...manifest, wantedAtMs: clock.now() };
        await files.write(name, '_manifests', digest, serializeManifestLink(record));
        const own = open(name);
        if (!own.manifests.has(digest)) link(digest, record.sizeBytes);
        own.manifests.set(digest, record);
        for (const tag of tags) {
          await files.write(name, '_tags', tag, digest);
          own.tags.set(tag, digest);
        }
      }),
    deleteManifest: (name, digest) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own?.manifests.has(digest)) return false;
        await deleteManifest(own, digest);
        return true;
      }),
    deleteTag: (name, tag) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own?.tags.has(tag)) return false;
        await deleteTag(own, tag);
        return true;
      }),
    unlinkUnnamed: (name, beforeMs) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own) return 0;
        let count = 0;
        const named = namedBlobs(own);
        for (const [digest, link] of own.blobs) {
          // Asked for each anew: it may have been wanted while the ones before it were removed.
          if (named.has(digest) || link.wantedAtMs >= beforeMs) continue;
          await unlinkBlob(own, digest);
          count += 1;
        }
        return count;
      }),
    deleteUntagged: (name, beforeMs) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own) return 0;
        let count = 0;
        const reachable = reachableManifests(own);
        for (const [digest, link] of own.manifests) {
          if (reachable.has(digest) || link.wantedAtMs >= beforeMs) continue;
          await deleteManifest(own, digest);
          count += 1;
        }
        return count;
      }),
    isLive: (digest) => links.has(digest) || holds.has(digest),
  };
}

const isEmpty = ({ blobs, manifests, tags }: Repository): boolean => blobs.size + manifests.size + tags.size === 0;

/** Manifests that a tag leads to, by way of indexes, and what says something about those. */
function reachableManifests({ manifests, tags }: Repository): Set<Digest> {
  const bySubject = Map.groupBy(manifests, ([, { subject }]) => subject);
  const reached = new Set<Digest>();
  const pending = [...tags.values()];
  for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
    if (reached.has(digest)) continue;
    reached.add(digest);
    pending.push(...(manifests.get(digest)?.manifests ?? []), ...(bySubject.get(digest) ?? []).map(([own]) => own));
  }
  return reached;
}

function createCounts() {
  const counts = new Map<Digest, number>();
  return {
    has: (digest: Digest): boolean => counts.has(digest),
    add: (digest: Digest): void => {
      counts.set(digest, (counts.get(digest) ?? 0) + 1);
    },
    remove: (digest: Digest): void => {
      const left = (counts.get(digest) ?? 0) - 1;
      if (left > 0) counts.set(digest, left);
      else counts.delete(digest);
    },
  };
}
