// One build: context, Dockerfile, stages, image.
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { WindlassError } from '../lib/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { parsePlatform, platformName } from '../oci/platform.ts';
import type { ImageParts } from '../runtime-shim/images/create-image-service.ts';
import type { BuildRequest, BuildResult, ImageBuilder } from '../runtime-shim/images/image-builder.ts';
import type { ImageService } from '../runtime-shim/images/image-service.ts';
import { createBaseImages, credentialsFor } from './base-images.ts';
import { createBuildLog, type BuildLog } from './build-log.ts';
import { createStageResults, snapshotOf, type StageResults } from './build-stages.ts';
import { createBuildTrees } from './build-trees.ts';
import { createRegistryCaches, pushCache, type RegistryCacheParts } from './cache/registry-cache.ts';
import type { Warning } from './dockerfile/ast.ts';
import { parseDockerfile } from './dockerfile/parse.ts';
import type { OpenContext, SourceTree } from './files/builder-files.ts';
import { writeImage } from './image/write-image.ts';
import { performStep, stackOf, type StepBuild, type StepParts } from './perform-step.ts';
import { plainCopy } from './operations.ts';
import type { BuildNetwork } from './run/runner.ts';
import type { Snapshot } from './snapshot.ts';
import { planStages, unusedArgs } from './stages/plan-stages.ts';
import { orNoStage } from './stages/stage-list.ts';
import type { StagePlan } from './stages/stage-plan.ts';
import type { Workspace } from './workspaces.ts';

export interface BuildParts extends StepParts {
  readonly images: Pick<ImageService, 'find' | 'pull'>;
  readonly openContext: OpenContext;
  /** The network of one build's commands. */
  readonly openNetwork: (options: { buildId: string; networkId: string }) => BuildNetwork & AsyncDisposable;
  readonly now: () => number;
}

/** See ImageBuilder.build(). */
export async function build(
  parts: BuildParts,
  request: BuildRequest,
  { signal: outer, onEvent }: Parameters<ImageBuilder['build']>[1],
): Promise<BuildResult> {
  const { content, workspaces } = parts;
  const log = createBuildLog(onEvent, parts.now);
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  using lease = content.leases.open();
  const protect = (digest: Digest | string): void => lease.protect(digest);
  await using folder = workspaces.openFolder();
  await using context = await parts.openContext(request.context, {
    dockerfile: request.dockerfile,
    dockerfileInline: request.dockerfileInline,
    workDir: folder.root,
    store: content.store,
    protect,
    signal,
    onLog: log.note,
  });
  const plan = planBuild(parts, request, context.dockerfile);
  const warn = createWarner(plan, log);
  warn([...plan.dockerfile.warnings, ...plan.warnings]);
  const bases = createBaseImages({
    ...{ images: parts.images, content, credentials: request.credentials, pull: request.pull, protect, signal },
    onLog: log.note,
  });
  await using network =
    request.network === undefined ? undefined : parts.openNetwork({ buildId: request.id, networkId: request.network });
  const mount = async (snapshot: Snapshot): Promise<Workspace> => {
    await content.ensureUnpacked(stackOf(snapshot), signal);
    return workspaces.openReadOnly(snapshot.chain);
  };
  const platform = plan.stages[plan.target]?.platform ?? content.platform;
  await using trees = createBuildTrees({
    context,
    nameOfStage: (index) => plan.stages[index]?.name ?? String(index),
    openStage: async (index) => mount((await stages.get(index)).snapshot),
    openImage: async (reference) => {
      const image = await bases.get(reference, platform).catch((error: unknown) => {
        throw orNoStage(error, reference, plan.dockerfile.stages);
      });
      return mount(snapshotOf(image));
    },
    mountContext: () => mountContext(parts.files, context.tree, { workDir: folder.root, signal }),
  });
  const remote: RegistryCacheParts = {
    ...{ registry: content.registry, store: content.store, protect, signal, onLog: log.note },
    credentialsFor: (reference) => credentialsFor(request.credentials, reference),
  };
  const stepBuild: StepBuild = {
    ...{ buildId: request.id, platform: platformName(platform), trees, network, protect, signal },
    ...{ secrets: request.secrets, noCache: request.noCache, workDir: folder.root },
    epochSeconds: readEpoch(request.args),
    findElsewhere: createRegistryCaches(remote, request.cacheFrom),
  };
  // Stages and trees need each other: a step asks for trees, and a tree may be that of a stage.
  const stages = createStageResults({
    ...{ plan, nodePlatform: content.platform, bases, log, onEvent, warn, signal },
    epochSeconds: stepBuild.epochSeconds,
    perform: (step) => performStep(parts, stepBuild, step),
  });
  const target = await finish(stages, plan, stop);
  warn(unusedArgs(plan, await statesOf(stages)));
  const { state, snapshot, history } = target;
  await flushNew(content, snapshot);
  const image = await writeImage(
    content.store,
    {
      ...{ platform: state.platform, config: state.config, author: state.author, history },
      ...{ layers: snapshot.layers, diffIds: snapshot.diffIds },
      newestSeconds: stepBuild.epochSeconds ?? snapshot.newestSeconds,
    },
    { labels: request.labels, protect },
  );
  const record = content.name(image, request.references);
  if (request.cacheTo !== undefined) {
    log.note(`leaving the cache at ${request.cacheTo}`);
    const found = await Promise.all(stages.keys.map((key) => parts.cache.find(key, protect)));
    await pushCache(
      remote,
      request.cacheTo,
      found.filter((step) => step !== undefined),
    );
  }
  const { digest } = image.descriptor;
  const names = record.repoTags.length > 0 ? `, named ${request.references.join(', ')}` : '';
  log.note(`built ${digest}, image id ${record.id}${names}`);
  return {
    ...{ imageId: record.id, digest, ...stages.counts },
    ...(context.commit === undefined ? {} : { commit: context.commit }),
  };
}

function planBuild(
  { content }: BuildParts,
  { args, target, platform }: BuildRequest,
  { path, text }: { path: string; text: string },
): StagePlan {
  const targetPlatform = platform === undefined ? content.platform : parsePlatform(platform);
  const options = { target, args, buildPlatform: content.platform, targetPlatform };
  return planStages(parseDockerfile(Buffer.from(text), path), options);
}

/** In place where nothing of it is ignored and all of it belongs to root, else a copy. */
async function mountContext(
  files: BuildParts['files'],
  tree: SourceTree,
  options: { readonly workDir: string; readonly signal: AbortSignal },
): Promise<string> {
  const everything = plainCopy({ kind: 'context' }, '.');
  const taken = await files.resolveCopy(everything, tree, options);
  const present = await files.resolveCopy(everything, { ...tree, isContext: false, ignore: [] }, options);
  if (present.digest === taken.digest) return tree.root;
  const root = join(options.workDir, 'mounted-context');
  await mkdir(root);
  await files.applyCopy(taken, root, options);
  return root;
}

/** The target; the first stage that fails ends those beside it, and none of them is left running. */
async function finish(stages: StageResults, { target }: StagePlan, stop: AbortController) {
  try {
    return await stages.get(target);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(stages.started.values());
    throw error;
  }
}

async function statesOf(stages: StageResults) {
  const built = await Promise.all(stages.started.values());
  return built.map(({ state }) => state);
}

/** Tells warnings; where the Dockerfile says so, they fail the build. */
function createWarner({ dockerfile }: StagePlan, log: BuildLog): (warnings: readonly Warning[]) => void {
  return (warnings) => {
    for (const { rule, message, position } of warnings) {
      log.note(`WARNING: ${position.file}:${position.line}: ${rule}: ${message}`);
    }
    const [first] = warnings;
    if (!dockerfile.checks.isError || !first) return;
    const { file, line, column } = first.position;
    throw new WindlassError('Invalid', `${file}:${line}:${column}: ${first.rule}: ${first.message}`, {
      details: { position: first.position },
    });
  };
}

/** The blobs of an image are on the disk before it has a name; those of other images are already. */
async function flushNew({ store, imageBlobs }: ImageParts, { layers }: Snapshot): Promise<void> {
  const others = imageBlobs();
  const fresh = new Set(layers.map(({ digest }) => digest).filter((digest) => !others.has(digest)));
  await Promise.all(
    [...fresh].map(async (digest) => {
      await using file = await open(store.blobPath(digest));
      await file.datasync();
    }),
  );
}

function readEpoch(args: ReadonlyMap<string, string>): number | undefined {
  const text = args.get('SOURCE_DATE_EPOCH');
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,11}$/.test(text)) return Number(text);
  throw new WindlassError('Invalid', `SOURCE_DATE_EPOCH: want seconds since 1970, not ${JSON.stringify(text)}`);
}
