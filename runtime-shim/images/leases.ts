// Digests that work in progress needs: a sweep leaves them alone. A lease is taken before the bytes are looked for.

export interface Lease extends Disposable {
  /** Protects `digest` until the lease is disposed. */
  readonly protect: (digest: string) => void;
}

export interface Leases {
  open(): Lease;
  has(digest: string): boolean;
}

/** Creates an empty set of leases. */
export function createLeases(): Leases {
  const open = new Set<Set<string>>();
  return {
    open() {
      const digests = new Set<string>();
      open.add(digests);
      return { protect: (digest) => void digests.add(digest), [Symbol.dispose]: () => void open.delete(digests) };
    },
    has: (digest) => [...open].some((digests) => digests.has(digest)),
  };
}
