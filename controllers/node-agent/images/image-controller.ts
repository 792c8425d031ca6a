// Images that this node fetches: pulled, built or imported, tagged, inspected, and reported in their status.
import type { KindClient } from '../../../client/client.ts';
import { PULL_NODE_ANNOTATION, type Image, type ImageStatus } from '../../../crds/image.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isConflict, isNotFound } from '../../../lib/errors.ts';
import { RELEASING_REASON, withoutTakenTags } from '../../image/plan.ts';
import { findCondition } from '../../runtime/conditions.ts';
import { splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import { buildImage, type BuildImageDeps } from '../builds/build-image.ts';
import { removeStrayBuildLogs } from '../builds/build-log.ts';
import type { Cluster } from '../cluster.ts';
import type { InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';
import { statusPatch } from '../container/status-patch.ts';
import { namesToRelease } from './image-release.ts';
import { localReference } from './image-source.ts';
import { buildImageStatus, originOf, type Fetch } from './image-status.ts';
import { describePull, type ImagePuller } from './image-puller.ts';
import type { ImagePusher } from './image-pusher.ts';
import { pushAll, type PushOutcome } from './image-pushes.ts';
import { droppedTags } from './image-tags.ts';
import { importImage, type ImportDeps } from './import-image.ts';
import { readCredentials } from './prepare-image.ts';
import { prepullImage, sayOf, type PrepullDeps } from './prepull.ts';
import { normaliseReference } from './reference.ts';

const RECHECK_MS = 5 * 60_000;

/** Key under which what is left of Images that are gone is removed. */
export const SWEEP_KEY = 'sweep';
const SWEEP_MS = 10 * 60_000;

export interface ImageReconcilerDeps extends BuildImageDeps, ImportDeps, PrepullDeps {
  readonly cluster: Cluster;
  readonly client: Pick<KindClient<Image>, 'mergePatch'>;
  readonly runtime: Pick<NodeRuntime, 'inspectImage' | 'importImage' | 'tagImage' | 'untagImage'>;
  readonly puller: ImagePuller;
  readonly pusher: ImagePusher;
  readonly clock: Clock;
  readonly nodeName: string;
  /** Folder of the logs of builds. */
  readonly buildLogs: string;
  readonly record: (image: Image, type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly enqueue: (key: string) => void;
}

/** Reconciles one Image that this node was chosen to fetch. */
export function createImageReconciler(deps: ImageReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    if (key === SWEEP_KEY) return sweep(deps);
    const { namespace = '', name } = splitKey(key);
    const known = deps.cluster.images.get(namespace, name);
    // It is gone, perhaps with another of its name in its place, or another node's: what was built here is nobody's.
    await dropStrayBuilds(deps);
    if (known?.metadata.deletionTimestamp !== undefined) return release(deps, known, signal);
    // Two that both moved a tag to themselves would never end.
    const image = known && withoutTakenTags(known, deps.cluster.images.list(namespace));
    if (image?.metadata.annotations?.[PULL_NODE_ANNOTATION] !== deps.nodeName) {
      await sweep(deps);
      return image ? prepull(deps, image, key, signal) : {};
    }
    const fetch = await fetchImage(deps, image, key, signal);
    if (fetch.kind !== 'here') {
      await writeStatus(deps, image, fetch, signal);
      return { requeueAfterMs: fetch.kind === 'busy' ? 1000 : (fetch.requeueAfterMs ?? RECHECK_MS) };
    }
    await tagAll(deps, image, fetch.image);
    const pushes = await push(deps, image, fetch.image.digest, key, signal);
    await writeStatus(deps, image, { ...fetch, pushes }, signal);
    return { requeueAfterMs: Math.min(fetch.requeueAfterMs ?? RECHECK_MS, pushes.requeueAfterMs ?? RECHECK_MS) };
  };
}

function fetchImage(deps: ImageReconcilerDeps, image: Image, key: string, signal: AbortSignal): Promise<Fetch> {
  if (image.spec.build) return buildImage(deps, image, () => deps.enqueue(key), signal);
  return image.spec.import ? importImage(deps, image, signal) : pullImage(deps, image, key, signal);
}

/** Whether the build of an Image, and its log, are this node's. */
const isBuiltHere = ({ nodeName }: ImageReconcilerDeps, { metadata, spec }: Image): boolean =>
  spec.build !== undefined &&
  metadata.annotations?.[PULL_NODE_ANNOTATION] === nodeName &&
  metadata.deletionTimestamp === undefined;

/** Ends builds of Images that are gone; one that was about to give out its names may have done so. */
async function dropStrayBuilds(deps: ImageReconcilerDeps): Promise<void> {
  // Looked up one by one: this runs for every event, and there are more Images than builds.
  const ended = deps.builder.retain(({ namespace, name, uid }) => {
    const image = deps.cluster.images.get(namespace, name);
    return image?.metadata.uid === uid && isBuiltHere(deps, image);
  });
  for (const { namespace, name } of ended) {
    if (deps.cluster.images.get(namespace, name)) continue;
    await deps.runtime.untagImage(localReference({ metadata: { namespace, name } }));
  }
}

async function sweep(deps: ImageReconcilerDeps): Promise<Result> {
  let uids: Set<string> | undefined;
  await removeStrayBuildLogs(deps.buildLogs, (uid) => {
    // Mostly nothing is asked about.
    uids ??= new Set(
      deps.cluster.images
        .list()
        .filter((image) => isBuiltHere(deps, image))
        .map(({ metadata }) => metadata.uid ?? ''),
    );
    return uids.has(uid);
  });
  return { requeueAfterMs: SWEEP_MS };
}

/** Once the image controller says that nobody uses it any more: the node lets go, and says so by leaving status.nodes. */
async function release(deps: ImageReconcilerDeps, image: Image, signal: AbortSignal): Promise<Result> {
  const { spec, status } = image;
  if (findCondition(image, 'Ready')?.reason !== RELEASING_REASON) return {};
  const nodes = status?.nodes ?? [];
  if (!nodes.includes(deps.nodeName)) return {};
  if (!spec.retain) {
    const onNode = deps.cluster.containers.list().filter((container) => container.spec.nodeName === deps.nodeName);
    for (const name of namesToRelease(image, deps.cluster.images.list(), onNode)) await deps.runtime.untagImage(name);
  }
  // Another node may say the same of itself in this moment: then this one looks again.
  await patchStatus(deps, image, { nodes: nodes.filter((node) => node !== deps.nodeName) }, signal);
  return {};
}

/** On a node that does not fetch it: each writes of itself alone. */
async function prepull(deps: ImageReconcilerDeps, image: Image, key: string, signal: AbortSignal): Promise<Result> {
  const looked = await prepullImage(deps, image, () => deps.enqueue(key), signal);
  if (!looked) return {};
  const said = sayOf(image.status ?? {}, deps.nodeName, looked);
  if (said) {
    const wrote = await patchStatus(deps, image, said, signal);
    if (wrote && looked.lack)
      deps.record(image, 'Warning', looked.lack.reason, `node ${deps.nodeName}: ${looked.lack.message}`);
    else if (wrote && looked.isHere) {
      deps.record(image, 'Normal', 'Prepulled', `${image.status?.digest ?? ''} is on node ${deps.nodeName}`);
    }
  }
  return { requeueAfterMs: looked.result.requeueAfterMs ?? RECHECK_MS };
}

function push(
  { cluster, pusher, clock, enqueue }: ImageReconcilerDeps,
  image: Image,
  digest: string,
  key: string,
  signal: AbortSignal,
): Promise<PushOutcome> {
  const namespace = image.metadata.namespace ?? '';
  return pushAll(
    {
      pusher,
      now: clock.now,
      credentialsFor: (names, reference) => readCredentials(cluster, namespace, names, reference, signal),
      onChange: () => enqueue(key),
    },
    image,
    digest,
  );
}

async function pullImage(deps: ImageReconcilerDeps, image: Image, key: string, signal: AbortSignal): Promise<Fetch> {
  const { spec, status, metadata } = image;
  const reference = normaliseReference(spec.reference ?? '');
  const present = await deps.runtime.inspectImage(reference);
  const resolvedMs = Date.parse(status?.resolvedAt ?? '') || 0;
  const refreshMs = spec.refreshSeconds === undefined ? undefined : spec.refreshSeconds * 1000;
  const dueMs = refreshMs === undefined ? Number.POSITIVE_INFINITY : resolvedMs + refreshMs;
  const mustAsk = spec.pullPolicy === 'Always' && status?.observedGeneration !== metadata.generation;
  if (present && !mustAsk && deps.clock.now() < dueMs) {
    return {
      kind: 'here',
      image: present,
      fetched: false,
      requeueAfterMs: refreshMs === undefined ? undefined : dueMs - deps.clock.now(),
    };
  }
  if (spec.pullPolicy === 'Never' && !present) {
    return {
      kind: 'failed',
      reason: 'ErrImageNeverPull',
      message: `${reference} is not on node ${deps.nodeName} and pullPolicy is Never`,
      requeueAfterMs: 10_000,
    };
  }
  const names = (spec.imagePullSecrets ?? []).map((secret) => secret.name);
  const credentials = await readCredentials(deps.cluster, metadata.namespace ?? '', names, reference, signal);
  if (credentials.missing !== undefined) {
    return {
      kind: 'failed',
      reason: 'ErrImagePull',
      message: `secret "${credentials.missing}" not found`,
      requeueAfterMs: 5000,
    };
  }
  const sinceMs = present && !mustAsk ? dueMs : mustAsk ? resolvedMs + 1 : deps.clock.now();
  const pull = deps.puller.request(reference, credentials.found, {
    sinceMs,
    waiter: key,
    onEnd: () => deps.enqueue(key),
    known: {
      nodes: (status?.nodes ?? []).filter((node) => node !== deps.nodeName),
      isLocal: false,
      // Of a node that had it before this one; what is refreshed is asked for anew.
      ...(status?.digest !== undefined && !mustAsk && refreshMs === undefined ? { digest: status.digest } : {}),
    },
  });
  if (pull.state === 'Pulling') {
    const { phase = 'Resolving', completedBytes = 0, totalBytes = 0 } = pull.progress ?? {};
    return { kind: 'busy', progress: { phase, completedBytes, totalBytes } };
  }
  if (pull.state === 'Failed') {
    return {
      kind: 'failed',
      reason: pull.reason,
      message: pull.message,
      requeueAfterMs: Math.max(pull.retryAtMs - deps.clock.now(), 100),
    };
  }
  const pulled = await deps.runtime.inspectImage(reference);
  if (pulled)
    return { kind: 'here', image: pulled, fetched: true, requeueAfterMs: refreshMs, took: describePull(pull) };
  return {
    kind: 'failed',
    reason: 'ErrImagePull',
    message: `${reference} is gone again after its pull`,
    requeueAfterMs: 1000,
  };
}

async function tagAll(deps: ImageReconcilerDeps, image: Image, inspected: InspectedImage): Promise<void> {
  for (const tag of (image.spec.tags ?? []).map(normaliseReference)) {
    if (!inspected.references.includes(tag)) await deps.runtime.tagImage(inspected.id, tag);
  }
  for (const tag of droppedTags(image, inspected, deps.cluster.images.list())) await deps.runtime.untagImage(tag);
}

/**
 * False when the Image is gone, or another one of its name has come, or it has changed under a write of what others write,
 * too, such as the list of conditions: there is another event of it then.
 */
async function patchStatus(
  { client }: ImageReconcilerDeps,
  { metadata: { name, namespace, uid, resourceVersion } }: Image,
  status: Partial<ImageStatus>,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const isShared = 'nodes' in status || 'lacking' in status || 'conditions' in status;
    const metadata = { uid, ...(isShared ? { resourceVersion } : {}) };
    await client.mergePatch(name, namespace, { metadata, status }, { subresource: 'status' }, signal);
    return true;
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
    return false;
  }
}

async function writeStatus(deps: ImageReconcilerDeps, image: Image, fetch: Fetch, signal: AbortSignal): Promise<void> {
  const next = buildImageStatus(image, fetch, deps.nodeName, deps.clock.now());
  const patch = statusPatch(image.status, next);
  if (Object.keys(patch).length === 0) return;
  if (!(await patchStatus(deps, image, patch, signal))) return;
  recordPushes(deps, image, next);
  if (fetch.kind === 'here' && image.status?.digest !== fetch.image.digest) {
    deps.record(
      image,
      'Normal',
      originOf(image).type,
      `${fetch.image.digest} is on node ${deps.nodeName}${fetch.took ? `, ${originOf(image).type.toLowerCase()} ${fetch.took}` : ''}`,
    );
  } else if (fetch.kind === 'failed') deps.record(image, 'Warning', fetch.reason, fetch.message);
  else if (fetch.kind === 'busy' && image.spec.build && image.status?.progress?.phase !== 'Building') {
    deps.record(image, 'Normal', 'Building', `building on node ${deps.nodeName}`);
  }
}

function recordPushes({ record }: ImageReconcilerDeps, image: Image, next: ImageStatus): void {
  for (const { reference, digest } of next.pushed ?? []) {
    const isOld = image.status?.pushed?.some((done) => done.reference === reference && done.digest === digest);
    if (!isOld) record(image, 'Normal', 'Pushed', `${digest} is at ${reference}`);
  }
  const now = findCondition({ status: next }, 'Pushed');
  const before = findCondition(image, 'Pushed');
  if (now?.reason === 'ErrImagePush' && now.message !== before?.message) {
    record(image, 'Warning', now.reason, now.message);
  }
}
