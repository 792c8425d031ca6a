// What files held when they were read last, by what would be different if they had been changed since.
import { deserialize, serialize } from 'node:v8';
import type { BigIntStats } from 'node:fs';

const MAX_ENTRIES = 100_000;
/** A file changed so shortly before it was read can be changed again without its times telling. */
const SETTLED_MS = 100;

export interface Content {
  /** SHA-256 in hex. */
  readonly sha256: string;
  /** It has extended attributes that are kept. */
  readonly hasXattrs: boolean;
}

export interface ContentMemo {
  find(identity: string): Content | undefined;
  /** The one not asked for longest is forgotten when there are too many. */
  remember(identity: string, content: Content): void;
  /** All of it, for another memo. */
  pack(): Buffer;
}

/** An empty memo, or one with what another had. */
export function createContentMemo(packed?: Uint8Array): ContentMemo {
  const known = new Map(packed ? (deserialize(packed) as [string, Content][]) : []);
  return {
    find(identity) {
      const found = known.get(identity);
      if (found) {
        known.delete(identity);
        known.set(identity, found);
      }
      return found;
    },
    remember(identity, content) {
      known.set(identity, content);
      if (known.size > MAX_ENTRIES) known.delete(known.keys().next().value as string);
    },
    pack: () => serialize([...known]),
  };
}

/**
 * What a file is known by: any change of it, or another file in its place, gives another identity. The device counts in a
 * context, which may be on a file system that says what it likes; images are all on one, under a number that each mount of
 * their overlay gives anew.
 */
export function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats, isContext: boolean): string {
  return `${isContext ? dev : 'image'}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** Whether its identity tells, for a file whose reading began at `nowMs`. */
export function isSettled(stat: BigIntStats, nowMs: number): boolean {
  return settlesInMs(stat, nowMs) === 0;
}

/** How long it takes, in milliseconds, until a file that is left alone is settled; at most that time, whatever its clock. */
export function settlesInMs({ ctimeNs }: BigIntStats, nowMs: number): number {
  return Math.min(Math.max(Number(ctimeNs / 1_000_000n) + SETTLED_MS + 1 - nowMs, 0), SETTLED_MS);
}
