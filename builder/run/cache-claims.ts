// Who has which copy of a cache: in this process alone, since steps do not outlive it.
import type { RunMount } from '../operations.ts';

type Sharing = Extract<RunMount, { type: 'cache' }>['sharing'];

/** Which copy one has, until it is disposed. */
export interface CacheClaim extends Disposable {
  readonly index: number;
}

export interface CacheClaims {
  /**
   * A copy of cache `key`. `shared` and `locked` want the first one: `locked` alone, `shared` with other shared ones.
   * `private` gets the first one that nobody has. Those that wait are served in the order they came.
   */
  claim(key: string, sharing: Sharing, signal: AbortSignal): Promise<CacheClaim>;
  isClaimed(key: string): boolean;
}

interface Holders {
  count: number;
  readonly isAlone: boolean;
}

interface Waiting {
  readonly sharing: Sharing;
  readonly serve: (claim: CacheClaim) => void;
}

interface Cache {
  /** By index of the copy. */
  readonly holders: Map<number, Holders>;
  readonly waiting: Waiting[];
}

export function createCacheClaims(): CacheClaims {
  const caches = new Map<string, Cache>();

  function take(key: string, cache: Cache, sharing: Sharing): CacheClaim | undefined {
    let index = 0;
    if (sharing === 'private') while (cache.holders.has(index)) index += 1;
    const holders = cache.holders.get(index);
    if (holders && (holders.isAlone || sharing !== 'shared')) return undefined;
    const taken = holders ?? { count: 0, isAlone: sharing !== 'shared' };
    taken.count += 1;
    cache.holders.set(index, taken);
    let isReleased = false;
    return {
      index,
      [Symbol.dispose]() {
        if (isReleased) return;
        isReleased = true;
        taken.count -= 1;
        if (taken.count === 0) cache.holders.delete(index);
        serve(key, cache);
      },
    };
  }

  /** One that has to wait holds up those behind it, or a stream of shared ones would never let a locked one in. */
  function serve(key: string, cache: Cache): void {
    for (let next = cache.waiting[0]; next; next = cache.waiting[0]) {
      const claim = take(key, cache, next.sharing);
      if (!claim) return;
      cache.waiting.shift();
      next.serve(claim);
    }
    if (cache.holders.size === 0) caches.delete(key);
  }

  return {
    async claim(key, sharing, signal) {
      signal.throwIfAborted();
      const cache: Cache = caches.get(key) ?? { holders: new Map(), waiting: [] };
      caches.set(key, cache);
      const { promise, resolve, reject } = Promise.withResolvers<CacheClaim>();
      const waiting = { sharing, serve: resolve };
      cache.waiting.push(waiting);
      const leave = (): void => {
        const at = cache.waiting.indexOf(waiting);
        if (at < 0) return;
        cache.waiting.splice(at, 1);
        reject(signal.reason as Error);
        serve(key, cache);
      };
      signal.addEventListener('abort', leave, { once: true });
      serve(key, cache);
      try {
        return await promise;
      } finally {
        signal.removeEventListener('abort', leave);
      }
    },
    isClaimed: (key) => caches.has(key),
  };
}
