// One operation on the files of a stage: its layer from the cache, or made and put there.
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WindlassError } from '../lib/errors.ts';
import type { Limit } from '../lib/limit.ts';
import type { Digest } from '../oci/digest.ts';
import { MANIFEST_LIMITS } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import type { ImageParts } from '../runtime-shim/images/create-image-service.ts';
import type { CachedLayer, CachedStep, StepCache } from './cache/step-cache.ts';
import type { RemoteStep } from './cache/registry-cache.ts';
import { looksUpNames, stepKey } from './cache/step-key.ts';
import type { BuilderFiles, ResolvedCopy } from './files/builder-files.ts';
import type { BuildTrees } from './build-trees.ts';
import { makeWorkdir } from './make-workdir.ts';
import {
  plainCopy,
  type CopyOperation,
  type FileSource,
  type Operation,
  type RunMount,
  type RunOperation,
} from './operations.ts';
import { dropCopies } from './run/mount-points.ts';
import type { BuildNetwork, Runner, StepResult } from './run/runner.ts';
import { chainIdOnTop, extend, MAX_SECONDS, type Snapshot } from './snapshot.ts';
import type { Workspaces, WritableWorkspace } from './workspaces.ts';

export interface StepParts {
  readonly content: ImageParts;
  readonly cache: StepCache;
  readonly files: BuilderFiles;
  readonly runner: Runner;
  readonly workspaces: Workspaces;
  /** Bounds the steps that work at the same time, of all builds. */
  readonly limit: Limit;
}

/** What one overlay mount can stack, with the layer for mount points below them. */
const MAX_LAYERS = MANIFEST_LIMITS.layers - 1;

/** What the steps of one build share. */
export interface StepBuild {
  readonly buildId: string;
  readonly platform: string;
  readonly trees: BuildTrees;
  readonly secrets: ReadonlyMap<string, Buffer>;
  readonly network: BuildNetwork | undefined;
  /** Steps are carried out although their layer is known. */
  readonly noCache: boolean;
  /** SOURCE_DATE_EPOCH: no file of the image is newer. */
  readonly epochSeconds: number | undefined;
  /** Existing folder, deleted after the build. */
  readonly workDir: string;
  /** Steps that others made, see createRegistryCaches(). */
  readonly findElsewhere: (key: string) => Promise<RemoteStep | undefined>;
  readonly protect: (digest: Digest) => void;
  readonly signal: AbortSignal;
}

export interface Step {
  readonly snapshot: Snapshot;
  readonly operation: Operation;
  readonly createdBy: string;
  /** What it returns is waited for before more comes. */
  readonly onOutput: (text: string) => Promise<void> | void;
}

export interface Performed {
  readonly snapshot: Snapshot;
  /** The step has added a layer. */
  readonly hasLayer: boolean;
  readonly isCached: boolean;
  readonly key: string;
}

/** Does the step, or finds it done. Throws what is wrong with it, and the signal's reason when that fires. */
export async function performStep(parts: StepParts, build: StepBuild, step: Step): Promise<Performed> {
  const inputs = await readInputs(parts, build, step);
  const { snapshot, operation } = step;
  const key = stepKey({
    parent: snapshot.chain.at(-1),
    platform: build.platform,
    epochSeconds: build.epochSeconds,
    isConnected: operation.kind === 'run' && operation.network !== 'none' && build.network !== undefined,
    operation,
    ...(inputs.copy ? { files: inputs.copy.digest } : {}),
    ...(operation.kind === 'run' ? { mounts: inputs.mounts.map((mount) => mount?.digest) } : {}),
  });
  const known = build.noCache ? undefined : await findKnown(parts, build, snapshot, key);
  if (known) {
    const { layer, newestSeconds } = known;
    const next = extend(snapshot, layer, newestSeconds);
    // A linked copy may have been made on other layers.
    if (layer) for (const chainId of next.chain.slice(-1)) build.protect(chainId);
    return { snapshot: next, hasLayer: layer !== undefined, isCached: true, key };
  }
  if (snapshot.layers.length >= MAX_LAYERS) {
    throw new WindlassError(
      'Invalid',
      `the stage has ${snapshot.layers.length} layers, the most that can be mounted: put several instructions into one`,
    );
  }
  const newestSeconds = Math.min(Math.max(snapshot.newestSeconds, ...inputs.times), MAX_SECONDS);
  const make = (): Promise<CachedLayer | undefined> => makeLayer(parts, build, step, { inputs, newestSeconds });
  // One that waits for a cache of others must not keep everybody else from working.
  const layer = await (waitsForOthers(operation) ? make() : parts.limit(0, build.signal, make));
  await parts.cache.add({ key, layer, newestSeconds, createdBy: step.createdBy });
  return { snapshot: extend(snapshot, layer, newestSeconds), hasLayer: layer !== undefined, isCached: false, key };
}

const waitsForOthers = (operation: Operation): boolean =>
  operation.kind === 'run' && operation.mounts.some((mount) => mount.type === 'cache' && mount.sharing === 'locked');

async function findKnown(
  parts: StepParts,
  build: StepBuild,
  snapshot: Snapshot,
  key: string,
): Promise<CachedStep | undefined> {
  const found = await parts.cache.find(key, build.protect);
  return found ?? (await adoptRemote(parts, build, snapshot, key));
}

/** A step that was made elsewhere counts as one of this node from now on. */
async function adoptRemote(
  { cache }: StepParts,
  { findElsewhere }: StepBuild,
  snapshot: Snapshot,
  key: string,
): Promise<CachedStep | undefined> {
  const remote = await findElsewhere(key);
  if (!remote) return undefined;
  const { layer: blob, newestSeconds, createdBy } = remote;
  const layer = blob && {
    // How much it takes unpacked is not known yet: about what its tar takes.
    ...{ blob, diffId: blob.digest, usedBytes: blob.size },
    chainId: chainIdOnTop(snapshot, blob.digest),
  };
  const step = { key, layer, newestSeconds, createdBy };
  await cache.add(step);
  return step;
}

interface Inputs {
  readonly copy: ResolvedCopy | undefined;
  /** Of each mount that brings files along. */
  readonly mounts: readonly (ResolvedCopy | undefined)[];
  readonly times: readonly number[];
}

async function readInputs({ files }: StepParts, build: StepBuild, { operation, onOutput }: Step): Promise<Inputs> {
  const options = {
    workDir: build.workDir,
    signal: build.signal,
    onLog: (line: string): void => void onOutput(`${line}\n`),
  };
  const resolve = async (copy: CopyOperation): Promise<ResolvedCopy> =>
    files.resolveCopy(copy, await build.trees.treeOf(copy.from), options);
  const copy = operation.kind === 'copy' ? await resolve(operation) : undefined;
  const mounts =
    operation.kind === 'run'
      ? await Promise.all(operation.mounts.map(async (mount) => (hasFiles(mount) ? resolve(asCopy(mount)) : undefined)))
      : [];
  const times = [copy, ...mounts].flatMap((resolved) => resolved?.newestSeconds ?? []);
  return { copy, mounts, times };
}

type FileMount = Extract<RunMount, { type: 'bind' | 'cache' }> & { readonly from: FileSource };

const hasFiles = (mount: RunMount): mount is FileMount =>
  mount.type === 'bind' || (mount.type === 'cache' && mount.from !== undefined);

/** What a mount brings along counts as if it were copied. */
const asCopy = ({ from, source }: FileMount): CopyOperation => plainCopy(from, source);

async function makeLayer(
  parts: StepParts,
  build: StepBuild,
  step: Step,
  { inputs, newestSeconds }: { inputs: Inputs; newestSeconds: number },
): Promise<CachedLayer | undefined> {
  const { content, files, workspaces } = parts;
  const { snapshot, operation } = step;
  await content.ensureUnpacked(stackOf(snapshot), build.signal);
  // What a linked copy writes must not depend on what lies below.
  const isLinked = operation.kind === 'copy' && operation.link;
  await using space = workspaces.openWritable(isLinked ? [] : snapshot.chain, {
    hasMountPoints: operation.kind === 'run',
  });
  await using below = isLinked && looksUpNames(operation) ? workspaces.openReadOnly(snapshot.chain) : undefined;
  const { copiedFolders } = await carryOut(parts, build, step, { space, usersRoot: below?.root, copy: inputs.copy });
  build.signal.throwIfAborted();
  await space.unmount();
  dropCopies(space.upper, space.lowerDirs, copiedFolders);
  const target = join(content.store.root, 'ingest', `tmp-${randomUUID()}`);
  const written = await files.writeLayer(space.upper, target, {
    clampSeconds: build.epochSeconds ?? newestSeconds,
    base: space.base,
    // The blobs of an image are flushed together, when it is whole.
    flush: false,
    signal: build.signal,
  });
  const blob = { mediaType: MEDIA_TYPES.ociLayer, digest: written.diffId, size: written.sizeBytes };
  build.protect(blob.digest);
  if (written.isEmpty) {
    await rm(target, { force: true });
    return undefined;
  }
  await content.store.adopt(target, blob.digest);
  const chainId = chainIdOnTop(snapshot, written.diffId);
  build.protect(chainId);
  const { usedBytes, inodes, isRootOpaque } = written;
  await content.layers.adopt(chainId, space.upper, { usedBytes, inodes, isRootOpaque });
  return { diffId: written.diffId, chainId, blob, usedBytes };
}

const NOTHING_COPIED: StepResult = { copiedFolders: [] };

async function carryOut(
  { files, runner }: StepParts,
  build: StepBuild,
  { operation, onOutput }: Step,
  place: { space: WritableWorkspace; usersRoot: string | undefined; copy: ResolvedCopy | undefined },
): Promise<StepResult> {
  const { space, usersRoot, copy } = place;
  if (operation.kind === 'run') return run(runner, build, operation, space.root, onOutput);
  if (operation.kind === 'workdir') {
    makeWorkdir(space.root, operation);
    return NOTHING_COPIED;
  }
  if (!copy) throw new Error('a copy was not resolved');
  const { workDir, signal } = build;
  await files.applyCopy(copy, space.root, { workDir, signal, ...(usersRoot === undefined ? {} : { usersRoot }) });
  return NOTHING_COPIED;
}

function run(
  runner: Runner,
  build: StepBuild,
  operation: RunOperation,
  root: string,
  onOutput: Step['onOutput'],
): Promise<StepResult> {
  const { buildId, secrets, signal } = build;
  return runner.run(operation, {
    ...{ buildId, root, secrets, signal },
    network: build.network,
    sourceOf: async (from, path) => ({ tree: await build.trees.mountableRoot(from), path }),
    onOutput: (line) => onOutput(`${line}\n`),
  });
}

/** A snapshot as images list their layers. */
export const stackOf = ({ layers, diffIds }: Snapshot) => ({
  manifest: { layers: [...layers] },
  config: { rootfs: { type: 'layers' as const, diff_ids: [...diffIds] } },
});
