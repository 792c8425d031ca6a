// Which layer a step made, by what the step depends on:
//   steps/<key>.json   one step; the file's mtime is when it was last used
// What a step needs of the content store and the layers is kept from the garbage collector for as long as it is here. A
// record that is lost or damaged costs running its step again.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../lib/replace-file.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
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
  /** A step whose layer is there; it counts as used now. */
  find(key: string): CachedStep | undefined;
  /** Remembers a step; its layer must be in the stores. Steps that were not used for longest make room for it. */
  add(step: CachedStep): Promise<void>;
  usage(isShared: (digest: Digest) => boolean): BuildCacheUsage;
  /** Forgets steps until at most `keepBytes` are left; gives the bytes that they held. */
  prune(keepBytes: number): Promise<number>;
}

export interface StepCacheLimits {
  readonly maxBytes: number;
  /** A step that was not used for so long is forgotten. */
  readonly maxAgeMs: number;
}

const KEY = /^[0-9a-f]{64}$/;

/** Opens the cache below `root`. */
export function openStepCache(root: string, store: Pick<ContentStore, 'has'>, limits: StepCacheLimits): StepCache {
  const folder = join(root, 'steps');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  /** Least recently used first. */
  const steps = new Map<string, CachedStep & { usedAtMs: number }>();
  const holders = new Map<Digest, number>();
  const fileOf = (key: string): string => join(folder, `${key}.json`);
  const count = ({ layer }: CachedStep, by: 1 | -1): void => {
    for (const digest of layer ? [layer.blob.digest, layer.chainId] : []) {
      const left = (holders.get(digest) ?? 0) + by;
      if (left > 0) holders.set(digest, left);
      else holders.delete(digest);
    }
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
    if (known) count(known, -1);
    steps.delete(step.key);
    steps.set(step.key, { ...step, usedAtMs });
    count(step, 1);
  };
  for (const { step, usedAtMs } of readSteps(folder)) insert(step, usedAtMs);

  const sizeOf = (): number => {
    const layers = new Map([...steps.values()].flatMap(({ layer }) => (layer ? [[layer.diffId, layer]] : [])));
    return [...layers.values()].reduce((sum, { blob, usedBytes }) => sum + blob.size + usedBytes, 0);
  };
  const prune = async (keepBytes: number): Promise<number> => {
    const before = sizeOf();
    const oldest = Date.now() - limits.maxAgeMs;
    for (const [key, { usedAtMs }] of [...steps]) {
      if (usedAtMs > oldest && sizeOf() <= keepBytes) break;
      await forget(key);
    }
    return before - sizeOf();
  };

  return {
    hasBlob: (digest) => holders.has(digest),
    hasLayer: (chainId) => holders.has(chainId),
    find(key) {
      const step = steps.get(key);
      if (!step) return undefined;
      if (step.layer && !store.has(step.layer.blob.digest, step.layer.blob.size)) return undefined;
      insert(step, Date.now());
      const now = new Date();
      // Only which of them goes first depends on it.
      utimes(fileOf(key), now, now).catch(() => undefined);
      return step;
    },
    async add(step) {
      const file = fileOf(step.key);
      try {
        // At once: another build may be adding the same step.
        replaceFile(file, JSON.stringify(step));
      } catch (error) {
        throw asStoreError(`failed to write ${file}`, error);
      }
      insert(step, Date.now());
      await prune(limits.maxBytes);
    },
    usage(isShared) {
      const blobs = new Map([...steps.values()].flatMap(({ layer }) => (layer ? [[layer.blob.digest, layer]] : [])));
      const shared = [...blobs.values()].filter(({ blob }) => isShared(blob.digest));
      const sharedBytes = shared.reduce((sum, { blob, usedBytes }) => sum + blob.size + usedBytes, 0);
      return { entries: steps.size, sizeBytes: sizeOf(), sharedBytes };
    },
    prune,
  };
}

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
