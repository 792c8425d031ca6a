// Images that this node fetches: pulled or imported, tagged, inspected, and reported in their status.
import { stat } from 'node:fs/promises';
import type { KindClient } from '../../../client/client.ts';
import { PULL_NODE_ANNOTATION, type Image, type ImageStatus } from '../../../crds/image.ts';
import type { Clock } from '../../../lib/clock.ts';
import { errnoOf, isConflict, isNotFound, messageOf } from '../../../lib/errors.ts';
import { RELEASING_REASON } from '../../image/plan.ts';
import { findCondition } from '../../runtime/conditions.ts';
import { splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import type { InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';
import { statusPatch } from '../container/status-patch.ts';
import { namesToRelease } from './image-release.ts';
import { localReference } from './image-source.ts';
import { buildImageStatus, type Fetch } from './image-status.ts';
import { describePull, type ImagePuller } from './image-puller.ts';
import type { ImagePusher } from './image-pusher.ts';
import { pushAll, type PushOutcome } from './image-pushes.ts';
import { droppedTags } from './image-tags.ts';
import { readCredentials } from './prepare-image.ts';
import { normaliseReference } from './reference.ts';

const RECHECK_MS = 5 * 60_000;

export interface ImageReconcilerDeps {
  readonly cluster: Cluster;
  readonly client: Pick<KindClient<Image>, 'mergePatch'>;
  readonly runtime: Pick<NodeRuntime, 'inspectImage' | 'importImage' | 'tagImage' | 'untagImage'>;
  readonly puller: ImagePuller;
  readonly pusher: ImagePusher;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly record: (image: Image, type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly enqueue: (key: string) => void;
}

/** Reconciles one Image that this node was chosen to fetch. */
export function createImageReconciler(deps: ImageReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    const { namespace = '', name } = splitKey(key);
    const image = deps.cluster.images.get(namespace, name);
    if (image?.metadata.annotations?.[PULL_NODE_ANNOTATION] !== deps.nodeName) return {};
    if (image.metadata.deletionTimestamp !== undefined) return release(deps, image, signal);
    if (image.spec.build) return {};
    const fetch = image.spec.import
      ? await importImage(deps, image, signal)
      : await pullImage(deps, image, key, signal);
    if (fetch.kind !== 'here') {
      await writeStatus(deps, image, fetch, signal);
      return { requeueAfterMs: fetch.kind === 'busy' ? 1000 : fetch.requeueAfterMs };
    }
    await tagAll(deps, image, fetch.image);
    const pushes = await push(deps, image, fetch.image.digest, key, signal);
    await writeStatus(deps, image, { ...fetch, pushes }, signal);
    return { requeueAfterMs: Math.min(fetch.requeueAfterMs ?? RECHECK_MS, pushes.requeueAfterMs ?? RECHECK_MS) };
  };
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
  await patchStatus(deps, image, { nodes: nodes.filter((node) => node !== deps.nodeName) }, signal);
  return {};
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

async function importImage(deps: ImageReconcilerDeps, image: Image, signal: AbortSignal): Promise<Fetch> {
  const { import: source, tags = [] } = image.spec;
  const path = source?.hostPath;
  if (path === undefined) {
    return {
      kind: 'failed',
      reason: 'NotSupported',
      message: 'spec.import.archive is not supported by this version',
      requeueAfterMs: RECHECK_MS,
    };
  }
  const own = localReference(image);
  const present = await deps.runtime.inspectImage(own);
  // A new generation may name another file: it is read again, which changes nothing when it is the same.
  if (present && image.status?.observedGeneration === image.metadata.generation)
    return { kind: 'here', image: present, fetched: false };
  try {
    await stat(path);
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'does not exist' : messageOf(error);
    return {
      kind: 'failed',
      reason: 'HostPathNotFound',
      message: `${path} on node ${deps.nodeName}: ${why}`,
      requeueAfterMs: 5000,
    };
  }
  const config = source?.config;
  try {
    await deps.runtime.importImage(
      path,
      [own, ...tags.map(normaliseReference)],
      config && {
        entrypoint: config.command ?? [],
        cmd: config.args ?? [],
        env: (config.env ?? []).map(({ name, value }) => `${name}=${value}`),
        workingDir: config.workingDir ?? '',
        user: config.user ?? '',
        exposedPorts: config.exposedPorts ?? [],
        volumes: config.volumes ?? [],
        labels: config.labels ?? {},
        stopSignal: config.stopSignal ?? '',
      },
      signal,
    );
  } catch (error) {
    if (signal.aborted) throw error;
    return {
      kind: 'failed',
      reason: 'ImportFailed',
      message: `failed to import ${path}: ${messageOf(error)}`,
      requeueAfterMs: 30_000,
    };
  }
  const imported = await deps.runtime.inspectImage(own);
  if (imported) return { kind: 'here', image: imported, fetched: true };
  return {
    kind: 'failed',
    reason: 'ImportFailed',
    message: `failed to import ${path}: the image is not there afterwards`,
    requeueAfterMs: 30_000,
  };
}

async function tagAll(deps: ImageReconcilerDeps, image: Image, inspected: InspectedImage): Promise<void> {
  for (const tag of (image.spec.tags ?? []).map(normaliseReference)) {
    if (!inspected.references.includes(tag)) await deps.runtime.tagImage(inspected.id, tag);
  }
  for (const tag of droppedTags(image, inspected, deps.cluster.images.list())) await deps.runtime.untagImage(tag);
}

/** False when the Image is gone, or another one of its name has come. */
async function patchStatus(
  { client }: ImageReconcilerDeps,
  { metadata: { name, namespace, uid } }: Image,
  status: object,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.mergePatch(name, namespace, { metadata: { uid }, status }, { subresource: 'status' }, signal);
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
      image.spec.import ? 'Imported' : 'Pulled',
      `${fetch.image.digest} is on node ${deps.nodeName}${fetch.took ? `, pulled ${fetch.took}` : ''}`,
    );
  } else if (fetch.kind === 'failed') deps.record(image, 'Warning', fetch.reason, fetch.message);
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
