// Which layer a step made, by what the step depends on:
//   steps/<key>.json   one step; the file's mtime is when it was last used
// What a step needs of the content store and the layers is kept from the garbage collector for as long as it is here. A
// record that is lost or damaged costs running its step again.
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoOf } from '../../lib/errors.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { isDigest, splitDigest, type Digest } from '../../oci/digest.ts';
import { asStoreError } from '../../oci/ingest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import type { GarbageRoots } from '../../runtime-shim/images/garbage-collector.ts';
import type { BuildCacheUsage } from '../../runtime-shim/images/image-builder.ts';

export interface CachedStep {
  /** See stepKey(): 64 hex digits. */
  readonly key: string;
  /** What the step added; absent when it changed nothing. */
  readonly layer?: CachedLayer | undefined;
  /** Newest time of all that went into the stage so far, in seconds: later steps date their files by it. */
  readonly newestSeconds: number;
  /** The instruction, for people. */
  readonly createdBy: string;
  /** Boot in which the layer was written, or found whole. */
  readonly bootId?: string | undefined;
}

export interface CachedLayer {
  readonly diffId: Digest;
  /** Of the layer on its parents. */
  readonly chainId: Digest;
  readonly blob: Descriptor;
  /** Of the unpacked form. */
  readonly usedBytes: number;
}

export interface StepCache extends GarbageRoots {
  /**
   * A step whose layer is there; it counts as used now. What it needs is told to `protect` in the same tick in which it is
   * found. A layer that an earlier boot may not have brought to the disk is read once before it is believed.
   */
  find(key: string, protect: (digest: Digest) => void): Promise<CachedStep | undefined>;
  /** Remembers a step; its layer must be in the stores. Steps that were not used for longest make room for it. */
  add(step: CachedStep): Promise<void>;
  usage(shared: ReadonlySet<Digest>): BuildCacheUsage;
  /** Forgets steps until at most `keepBytes` are left; gives the bytes that they held. */
  prune(keepBytes: number): Promise<number>;
  /** Whether something was let go of since this was asked last: then there are bytes to collect. */
  takeReleased(): boolean;
}

export interface StepCacheLimits {
  readonly maxBytes: number;
  /** A step that was not used for so long is forgotten. */
  readonly maxAgeMs: number;
}

const KEY = /^[0-9a-f]{64}$/;

/** Opens the cache below `root`. */
export function openStepCache(
  root: string,
  store: Pick<ContentStore, 'has' | 'blobPath'>,
  limits: StepCacheLimits,
): StepCache {
  const folder = join(root, 'steps');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  /** Least recently used first. */
  const steps = new Map<string, CachedStep & { usedAtMs: number }>();
  /** How many steps need each; on scratch, a layer's two digests are one. */
  const holders = { blob: new Map<Digest, number>(), chain: new Map<Digest, number>() };
  /** What the first holder of a blob said that it takes. */
  const sizes = new Map<Digest, number>();
  let isReleased = false;
  const fileOf = (key: string): string => join(folder, `${key}.json`);
  const hold = (kind: keyof typeof holders, digest: Digest, by: 1 | -1): number => {
    const left = (holders[kind].get(digest) ?? 0) + by;
    if (left > 0) holders[kind].set(digest, left);
    else holders[kind].delete(digest);
    return left;
  };
  /** A blob counts once, whoever has it. */
  const count = ({ layer }: CachedStep, by: 1 | -1): void => {
    if (!layer) return;
    const { digest } = layer.blob;
    if (hold('blob', digest, by) === 0) sizes.delete(digest);
    else if (!sizes.has(digest)) sizes.set(digest, bytesOf(layer));
    if (hold('chain', layer.chainId, by) === 0) isReleased = true;
  };
  const forget = async (key: string): Promise<void> => {
    const step = steps.get(key);
    if (!step) return;
    steps.delete(key);
    count(step, -1);
    await rm(fileOf(key), { force: true });
  };
  const insert = (step: CachedStep, usedAtMs: number): void => {
    const known = steps.get(step.key);
    count(step, 1);
    if (known) count(known, -1);
    steps.delete(step.key);
    steps.set(step.key, { ...step, usedAtMs });
  };
  for (const { step, usedAtMs } of readSteps(folder)) insert(step, usedAtMs);

  const sum = (): number => [...sizes.values()].reduce((total, bytes) => total + bytes, 0);
  const prune = async (keepBytes: number): Promise<number> => {
    const before = sum();
    let left = before;
    const oldest = Date.now() - limits.maxAgeMs;
    for (const [key, { usedAtMs, layer }] of [...steps]) {
      if (usedAtMs > oldest && left <= keepBytes) break;
      const bytes = layer ? (sizes.get(layer.blob.digest) ?? 0) : 0;
      await forget(key);
      if (layer && !sizes.has(layer.blob.digest)) left -= bytes;
    }
    return before - left;
  };
  const write = (step: CachedStep): void => {
    const file = fileOf(step.key);
    try {
      // At once: another build may be adding the same step.
      replaceFile(file, JSON.stringify({ ...step, bootId }));
    } catch (error) {
      throw asStoreError(`failed to write ${file}`, error);
    }
  };
  /** Blobs are not flushed step by step: after a power loss one may have its size and not its bytes. */
  const isWhole = async ({ layer }: CachedStep): Promise<boolean> => {
    if (!layer) return true;
    const { algorithm, hex } = splitDigest(layer.blob.digest);
    const hash = createHash(algorithm);
    try {
      await pipeline(createReadStream(store.blobPath(layer.blob.digest), { highWaterMark: 1024 * 1024 }), hash);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    return hash.digest('hex') === hex;
  };

  return {
    hasBlob: (digest) => holders.blob.has(digest),
    hasLayer: (chainId) => holders.chain.has(chainId),
    async find(key, protect) {
      const earlier = steps.get(key);
      if (earlier && earlier.bootId !== bootId) {
        if (!(await isWhole(earlier))) await forget(key);
        else if (steps.get(key) === earlier) {
          write(earlier);
          steps.set(key, { ...earlier, bootId });
        }
      }
      const step = steps.get(key);
      if (!step) return undefined;
      const { layer } = step;
      if (layer && !store.has(layer.blob.digest, layer.blob.size)) return undefined;
      for (const digest of layer ? [layer.blob.digest, layer.chainId] : []) protect(digest);
      insert(step, Date.now());
      const now = new Date();
      // Only which of them goes first depends on it.
      utimes(fileOf(key), now, now).catch(() => undefined);
      return step;
    },
    async add(step) {
      write(step);
      insert({ ...step, bootId }, Date.now());
      await prune(limits.maxBytes);
    },
    usage(shared) {
      const sharedBytes = [...sizes].reduce((total, [digest, bytes]) => total + (shared.has(digest) ? bytes : 0), 0);
      return { entries: steps.size, sizeBytes: sum(), sharedBytes };
    },
    prune,
    takeReleased() {
      const was = isReleased;
      isReleased = false;
      return was;
    },
  };
}

const bytesOf = ({ blob, usedBytes }: CachedLayer): number => blob.size + usedBytes;

function readSteps(folder: string): { step: CachedStep; usedAtMs: number }[] {
  const found: { step: CachedStep; usedAtMs: number }[] = [];
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const step = name.endsWith('.json') ? readStep(path) : undefined;
    if (step && name === `${step.key}.json`) found.push({ step, usedAtMs: statSync(path).mtimeMs });
    else rmSync(path, { force: true });
  }
  return found.toSorted((a, b) => a.usedAtMs - b.usedAtMs);
}

function readStep(path: string): CachedStep | undefined {
  try {
    const step = JSON.parse(readFileSync(path, 'utf8')) as CachedStep | null;
    if (!step || !KEY.test(step.key) || typeof step.newestSeconds !== 'number') return undefined;
    const { layer } = step;
    if (layer && !(isDigest(layer.diffId) && isDigest(layer.chainId) && isDigest(layer.blob.digest))) return undefined;
    return step;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
