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

export interface NewManifest extends Omit<ManifestLink, 'wantedAtMs' | 'notedAtMs'> {
  readonly digest: Digest;
  readonly tags: readonly string[];
  /** Blobs that the repository must have. */
  readonly required: readonly Digest[];
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
  /** Puts a manifest whose bytes are in the content store. MANIFEST_BLOB_UNKNOWN names required blobs that are missing. */
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
  readonly referrers: Map<Digest, Set<Digest>>;
  sizeBytes: number;
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
      const own = makeRepository(name);
      for (const [digest, notedAtMs] of blobs) {
        const sizeBytes = content.sizeOf(digest);
        if (sizeBytes === undefined) log.error({ repository: name, digest }, 'left out a blob that has no bytes');
        else addBlob(own, digest, { sizeBytes, wantedAtMs: notedAtMs, notedAtMs });
      }
      for (const [digest, link] of manifests) {
        if (content.has(digest, link.sizeBytes)) addManifest(own, digest, link);
        else log.error({ repository: name, digest }, 'left out a manifest that has no bytes');
      }
      for (const [tag, digest] of tags) if (own.manifests.has(digest)) own.tags.set(tag, digest);
      if (!isEmpty(own)) repositories.set(name, own);
    }
  }

  function link(own: OwnRepository, digest: Digest, sizeBytes: number): void {
    if (!links.has(digest)) storedBytes += sizeBytes;
    links.add(digest);
    own.sizeBytes += sizeBytes;
  }
  function unlink(own: OwnRepository, digest: Digest, sizeBytes: number): void {
    links.remove(digest);
    if (!links.has(digest)) storedBytes -= sizeBytes;
    own.sizeBytes -= sizeBytes;
  }
  function addBlob(own: OwnRepository, digest: Digest, blob: BlobLink): void {
    if (!own.blobs.has(digest)) link(own, digest, blob.sizeBytes);
    own.blobs.set(digest, blob);
  }
  function addManifest(own: OwnRepository, digest: Digest, manifest: ManifestLink): void {
    if (!own.manifests.has(digest)) link(own, digest, manifest.sizeBytes);
    own.manifests.set(digest, manifest);
    const { subject } = manifest;
    if (subject) own.referrers.set(subject, (own.referrers.get(subject) ?? new Set()).add(digest));
  }

  const open = (name: string): OwnRepository => {
    const made = repositories.get(name) ?? makeRepository(name);
    repositories.set(name, made);
    return made;
  };
  const forgetIfEmpty = (own: OwnRepository): void => {
    if (isEmpty(own)) repositories.delete(own.name);
  };
  /** Notes that a link is wanted; on the disk when what is there is too old. */
  function note(name: string, kind: '_blobs' | '_manifests', digest: Digest, wanted: BlobLink | ManifestLink): void {
    const now = clock.now();
    wanted.wantedAtMs = now;
    if (now - wanted.notedAtMs <= TOUCH_MS) return;
    wanted.notedAtMs = now;
    files.touch(name, kind, digest, now).catch((err: unknown) => log.warn({ err }, 'failed to note a wanted blob'));
  }

  // What is removed is gone from memory first: nobody may be told that it is there while its file goes.
  async function unlinkBlob(own: OwnRepository, digest: Digest): Promise<void> {
    unlink(own, digest, own.blobs.get(digest)?.sizeBytes ?? 0);
    own.blobs.delete(digest);
    forgetIfEmpty(own);
    await files.remove(own.name, '_blobs', digest);
  }
  async function deleteTag(own: OwnRepository, tag: string): Promise<void> {
    own.tags.delete(tag);
    forgetIfEmpty(own);
    await files.remove(own.name, '_tags', tag);
  }
  async function deleteManifest(own: OwnRepository, digest: Digest): Promise<void> {
    const tags = [...own.tags].flatMap(([tag, meant]) => (meant === digest ? [tag] : []));
    const { sizeBytes = 0, subject } = own.manifests.get(digest) ?? {};
    for (const tag of tags) own.tags.delete(tag);
    unlink(own, digest, sizeBytes);
    own.manifests.delete(digest);
    if (subject && own.referrers.get(subject)?.delete(digest) && own.referrers.get(subject)?.size === 0) {
      own.referrers.delete(subject);
    }
    forgetIfEmpty(own);
    // Tags first: after a crash in between, one that means nothing would be left.
    for (const tag of tags) await files.remove(own.name, '_tags', tag);
    await files.remove(own.name, '_manifests', digest);
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
        const known = repositories.get(name)?.blobs.get(digest);
        if (known) {
          note(name, '_blobs', digest, known);
          return;
        }
        const now = clock.now();
        await files.write(name, '_blobs', digest, '');
        addBlob(open(name), digest, { sizeBytes, wantedAtMs: now, notedAtMs: now });
      }),
    want(name, digest) {
      const own = repositories.get(name);
      const [blob, manifest] = [own?.blobs.get(digest), own?.manifests.get(digest)];
      if (blob) note(name, '_blobs', digest, blob);
      if (manifest) note(name, '_manifests', digest, manifest);
    },
    unlinkBlob: (name, digest) =>
      queue.run(name, async () => {
        const own = repositories.get(name);
        if (!own?.blobs.has(digest)) return false;
        await unlinkBlob(own, digest);
        return true;
      }),
    putManifest: (name, { digest, tags, required, ...manifest }) =>
      queue.run(name, async () => {
        const missing = required.filter((blob) => !repositories.get(name)?.blobs.has(blob));
        if (missing.length > 0) {
          const message = `manifest ${digest} names blobs that repository ${name} does not have: ${missing.join(', ')}`;
          throw refuse('MANIFEST_BLOB_UNKNOWN', message);
        }
        const now = clock.now();
        const record: ManifestLink = { ...manifest, wantedAtMs: now, notedAtMs: now };
        await files.write(name, '_manifests', digest, serializeManifestLink(record));
        addManifest(open(name), digest, record);
        for (const tag of tags) {
          await files.write(name, '_tags', tag, digest);
          open(name).tags.set(tag, digest);
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
        const reachable = reachableManifests(own, beforeMs);
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

/** Manifests that a tag leads to, or one that was wanted lately, by way of indexes; and what says something about those. */
function reachableManifests({ manifests, tags, referrers }: Repository, beforeMs: number): Set<Digest> {
  const reached = new Set<Digest>();
  const wanted = [...manifests].flatMap(([digest, { wantedAtMs }]) => (wantedAtMs >= beforeMs ? [digest] : []));
  const pending = [...tags.values(), ...wanted];
  for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
    if (reached.has(digest)) continue;
    reached.add(digest);
    pending.push(...(manifests.get(digest)?.manifests ?? []), ...(referrers.get(digest) ?? []));
  }
  return reached;
}

function makeRepository(name: string): OwnRepository {
  return { name, blobs: new Map(), manifests: new Map(), tags: new Map(), referrers: new Map(), sizeBytes: 0 };
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
