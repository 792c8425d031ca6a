// A registry as the cache of another: what is asked for and not here is fetched, verified and kept. Digests never change,
// so what is here under one is not asked for again; a tag is believed for a while.
import type { Clock } from '../../lib/clock.ts';
import { isNotFound, messageOf, reasonOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../../oci/manifest.ts';
import type { RegistryClient, RegistryCredentials } from '../../oci/distribution/registry-client.ts';
import type { Reference } from '../../oci/reference.ts';
import { createSharedWork } from '../../oci/shared-work.ts';
import { readDescriptors, readManifestLink } from '../manifest-link.ts';
import { findManifest } from '../store/repository.ts';
import type { RegistryStore } from '../store/registry-store.ts';
import type { Arrival } from './blob-stream.ts';
import type { Upstream } from './upstream.ts';

export interface UpstreamOptions {
  /** Host of the registry, e.g. `docker.io`. */
  readonly registry: string;
  readonly credentials?: RegistryCredentials | undefined;
  /** How long a tag is believed. */
  readonly tagMs: number;
  /** Called after something was fetched: a cache may be full then. */
  readonly onFetched?: () => void;
}

/** How long a tag that is here waits for the upstream to say whether it has moved. */
const REFRESH_MS = 5_000;

/** The upstream of `store`; `client` speaks to it. */
export function createUpstream(
  deps: {
    readonly store: RegistryStore;
    readonly client: RegistryClient;
    readonly clock: Clock;
    readonly log: Logger;
  },
  { registry, credentials, tagMs, onFetched = () => undefined }: UpstreamOptions,
): Upstream {
  const { store, client, clock, log } = deps;
  const manifests = createSharedWork<void>();
  const blobs = createSharedWork<void>();
  const arriving = new Map<Digest, News>();
  /** When a tag was last confirmed. A restart asks again. */
  const confirmed = new Map<string, number>();

  async function fetchManifest(repository: string, tagOrDigest: string, signal: AbortSignal): Promise<void> {
    const key = `${repository} ${tagOrDigest}`;
    const isFixed = isDigest(tagOrDigest);
    const held = findManifest(store.repository(repository), tagOrDigest) !== undefined;
    if (held && (isFixed || clock.now() - (confirmed.get(key) ?? -Infinity) < tagMs)) return;
    try {
      // What is here can be answered with: nobody waits for long.
      const patience = held ? AbortSignal.any([signal, AbortSignal.timeout(REFRESH_MS)]) : signal;
      await manifests.join(key, patience, (inner) => bring(repository, tagOrDigest, inner));
      if (!isFixed) remember(key);
    } catch (error) {
      if (isNotFound(error)) {
        // Taken away there: it is no longer what the tag means.
        if (held && !isFixed) await store.deleteTag(repository, tagOrDigest);
        return;
      }
      if (!held || signal.aborted) throw error;
      // Asked again when it would be, had it answered: not with each request.
      remember(key);
      log.warn({ repository, tag: tagOrDigest, problem: messageOf(error) }, 'upstream fails: answered from the cache');
    }
  }

  async function bring(repository: string, tagOrDigest: string, signal: AbortSignal): Promise<void> {
    const reference = referenceTo(repository, tagOrDigest);
    const held = isDigest(tagOrDigest) ? undefined : store.repository(repository)?.tags.get(tagOrDigest);
    // Most tags have not moved: then no byte of the manifest is sent, and docker.io does not count it as a pull.
    if (held !== undefined && (await client.currentDigest(reference, { credentials, signal })) === held) return;
    const { descriptor, bytes } = await client.resolve(reference, { credentials, signal });
    const tags = isDigest(tagOrDigest) ? [] : [tagOrDigest];
    using _held = store.hold(descriptor.digest);
    await store.content.put(bytes, descriptor.digest.startsWith('sha512:') ? 'sha512' : 'sha256');
    const link = readManifestLink(bytes, descriptor.mediaType);
    // Its blobs come when they are asked for.
    await store.putManifest(repository, { ...link, digest: descriptor.digest, tags, required: [] });
    onFetched();
  }

  async function fetchBlob(repository: string, digest: Digest, signal: AbortSignal): Promise<Arrival | undefined> {
    const descriptor = await findDescriptor(repository, digest);
    if (!descriptor) return undefined;
    const news = followNews(digest);
    const done = blobs.join(`${repository} ${digest}`, signal, async (inner) => {
      using _held = store.hold(digest);
      const reference = referenceTo(repository, digest);
      await client.fetchBlob(reference, descriptor, store.content, {
        ...{ credentials, signal: inner },
        onProgress: () => arriving.get(digest)?.tell(),
      });
      await store.linkBlob(repository, digest);
    });
    const leave = (): void => {
      news.followers -= 1;
      if (news.followers === 0) arriving.delete(digest);
    };
    done.then(onFetched, () => undefined).finally(leave);
    // What is refused or not there is known before the first byte.
    await Promise.race([news.first, done]);
    return {
      ...{ done, more: news.more },
      partialPath: store.content.partialPath(digest),
      path: store.content.blobPath(digest),
    };
  }

  /**
   * Who brings a blob tells all who read it, those of other repositories too: the client downloads a digest once. The news
   * stay until the last of them has left, whoever came first.
   */
  function followNews(digest: Digest): News {
    const news = arriving.get(digest) ?? createNews();
    arriving.set(digest, news);
    news.followers += 1;
    return news;
  }

  /** How large a blob is: some manifest of the repository says so, or nobody may ask for it here. */
  async function findDescriptor(repository: string, digest: Digest): Promise<Descriptor | undefined> {
    for (const [own, link] of store.repository(repository)?.manifests ?? []) {
      if (!link.blobs.includes(digest)) continue;
      const found = readDescriptors(await store.content.read(own, MANIFEST_LIMITS.manifestBytes));
      const descriptor = found.find((each) => each.digest === digest);
      if (descriptor) return descriptor;
    }
    return undefined;
  }

  function remember(key: string): void {
    if (confirmed.size >= 10_000) confirmed.clear();
    confirmed.set(key, clock.now());
  }

  function referenceTo(repository: string, tagOrDigest: string): Reference {
    return isDigest(tagOrDigest)
      ? { registry, repository, digest: tagOrDigest }
      : { registry, repository, tag: tagOrDigest };
  }

  /** What is not there is for the route to say, in its own words. */
  function ignoreAbsent(error: unknown): undefined {
    const reason = reasonOf(error);
    if (reason === 'NotFound') return undefined;
    if (reason !== 'Unauthorized' && reason !== 'Forbidden') throw error;
    // Registries refuse what they do not have to whom they do not know: docker.io does. Wrong credentials look the same.
    log.warn({ problem: messageOf(error) }, 'the upstream refuses');
    return undefined;
  }

  return {
    registry,
    fetchManifest: (repository, tagOrDigest, signal) =>
      fetchManifest(repository, tagOrDigest, signal).catch(ignoreAbsent),
    sizeOf: async (repository, digest) => (await findDescriptor(repository, digest))?.size,
    fetchBlob: (repository, digest, signal) => fetchBlob(repository, digest, signal).catch(ignoreAbsent),
  };
}

interface News {
  followers: number;
  /** Resolves with the first call, also when that is long ago. */
  readonly first: Promise<void>;
  tell(): void;
  more(): Promise<void>;
}

/** A call that any number of readers may wait for, again and again. */
function createNews(): News {
  const first = Promise.withResolvers<void>();
  let next = Promise.withResolvers<void>();
  return {
    followers: 0,
    first: first.promise,
    tell() {
      first.resolve();
      next.resolve();
      next = Promise.withResolvers();
    },
    more: () => next.promise,
  };
}
