// What a node writes into the status of an Image that it fetches. Pure.
import type { Image, ImageStatus } from '../../../crds/image.ts';
import { rfc3339 } from '../../../lib/clock.ts';
import { formatSize } from '../../../lib/quantity.ts';
import { setConditions, type NewCondition } from '../../runtime/conditions.ts';
import type { InspectedImage, OciImageConfig } from '../runtime/node-runtime.ts';
import type { PushOutcome } from './image-pushes.ts';
import { normaliseReference } from './reference.ts';

/** What a look at the image came to. */
export type Fetch =
  | {
      readonly kind: 'here';
      readonly image: InspectedImage;
      readonly fetched: boolean;
      readonly pushes?: PushOutcome;
      readonly requeueAfterMs?: number | undefined;
      /** For a message: how long the pull or the build took, and its size. */
      readonly took?: string;
      /** Of another build that may come to the same image: what is here is good until then. */
      readonly progress?: ImageStatus['progress'];
      /** The build that it comes from, where one has just ended. */
      readonly build?: NonNullable<ImageStatus['build']>;
    }
  | { readonly kind: 'busy'; readonly progress: ImageStatus['progress'] }
  | {
      readonly kind: 'failed';
      readonly reason: string;
      readonly message: string;
      /** Absent: nothing but a change can help. */
      readonly requeueAfterMs?: number | undefined;
      /** Reference in full of the image without which it cannot be built. */
      readonly waitsFor?: string;
    };

/** How the bytes come to a node: the type of the condition, and the word for what is under way. */
export function originOf({ spec }: Pick<Image, 'spec'>): { readonly type: string; readonly doing: string } {
  if (spec.build) return { type: 'Built', doing: 'Building' };
  return spec.import ? { type: 'Imported', doing: 'Importing' } : { type: 'Pulled', doing: 'Pulling' };
}

/** How to read the log of an Image's build. */
const buildLogHint = ({ metadata }: Image): string =>
  `kubectl get --raw '/apis/windlass.dev/v1/namespaces/${metadata.namespace ?? ''}/images/${metadata.name}/log?follow=true'`;

/** The status after a look at the image; conditions of other writers are kept. Pure. */
export function buildImageStatus(image: Image, fetch: Fetch, nodeName: string, now: number): ImageStatus {
  const old = image.status;
  const { type, doing } = originOf(image);
  const generation = image.metadata.generation;
  // Nothing to push any more: nothing to say about it.
  const isPushGone = (image.spec.push?.length ?? 0) === 0;
  const oldConditions = old?.conditions?.filter((condition) => !(isPushGone && condition.type === 'Pushed'));
  const references = [image.spec.reference, ...(image.spec.tags ?? [])]
    .filter((text) => text !== undefined)
    .map(normaliseReference);
  const withConditions = (rest: ImageStatus, conditions: NewCondition[]): ImageStatus => ({
    ...rest,
    // Also before the bytes are there: it is the name that a reader of a failure looks for.
    ...(references[0] === undefined ? {} : { reference: references[0] }),
    ...(image.spec.build ? { buildLog: buildLogHint(image) } : {}),
    conditions: setConditions(oldConditions, conditions, { now, generation }),
  });
  const { progress: _, ...kept } = old ?? {};
  if (fetch.kind === 'busy') {
    const message = `${doing.toLowerCase()} on node ${nodeName}`;
    const isThere = old?.digest !== undefined;
    const busy = { status: 'False', reason: doing, message } as const;
    return withConditions(
      { ...kept, progress: fetch.progress },
      // A build that is under way is told apart from the one before, which can be used until then.
      [...(isThere && !image.spec.build ? [] : [{ type, ...busy }]), ...(isThere ? [] : [{ type: 'Ready', ...busy }])],
    );
  }
  const { waitsFor: _waitsFor, ...settled } = kept;
  if (fetch.kind === 'failed') {
    const failed = { status: 'False', reason: fetch.reason, message: fetch.message } as const;
    // An older version that is there can still be used: only the refresh failed.
    return withConditions(
      fetch.waitsFor === undefined ? settled : { ...settled, waitsFor: fetch.waitsFor },
      old?.digest === undefined
        ? [
            { type, ...failed },
            { type: 'Ready', ...failed },
          ]
        : [{ type, ...failed }],
    );
  }
  const found = describeImage(fetch.image);
  const { pushed = [], condition: pushCondition, progress } = fetch.pushes ?? {};
  const { pushed: _pushed, ...rest } = settled;
  return withConditions(
    {
      ...rest,
      ...found,
      ...(pushed.length > 0 ? { pushed } : {}),
      ...(fetch.build ? { build: fetch.build } : {}),
      ...(fetch.progress ? { progress: fetch.progress } : {}),
      ...(progress === undefined ? {} : { progress: { phase: 'Pushing', ...progress } }),
      tags: [...new Set(references)],
      // What other nodes have is what it was before, when it is another image now.
      nodes: [...new Set([...(old?.digest === found.digest ? (old?.nodes ?? []) : []), nodeName])].toSorted(),
      ...(fetch.fetched || old?.resolvedAt === undefined ? { resolvedAt: rfc3339(now) } : {}),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    },
    [
      { type, status: 'True', reason: type, message: `on node ${nodeName}` },
      { type: 'Ready', status: 'True', reason: type, message: `on node ${nodeName}` },
      ...(pushCondition === undefined ? [] : [pushCondition]),
    ],
  );
}

function describeImage(image: InspectedImage): Partial<ImageStatus> {
  const config = image.config.config ?? {};
  const list = (values: readonly string[] | null | undefined, name: string): object =>
    values && values.length > 0 ? { [name]: [...values] } : {};
  return {
    digest: image.digest,
    sizeBytes: image.sizeBytes,
    size: formatSize(image.sizeBytes),
    layers: image.layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
    platform: image.platform,
    config: {
      ...list(config.Entrypoint, 'entrypoint'),
      ...list(config.Cmd, 'cmd'),
      ...list(config.Env, 'env'),
      ...list(Object.keys(config.ExposedPorts ?? {}), 'exposedPorts'),
      ...list(Object.keys(config.Volumes ?? {}), 'volumes'),
      ...(config.Labels && Object.keys(config.Labels).length > 0 ? { labels: { ...config.Labels } } : {}),
      ...(config.User ? { user: config.User } : {}),
      ...(config.WorkingDir ? { workingDir: config.WorkingDir } : {}),
      ...(config.StopSignal ? { stopSignal: config.StopSignal } : {}),
    },
    history: historyOf(image.config, image.layers),
  };
}

function historyOf(config: OciImageConfig, layers: InspectedImage['layers']): NonNullable<ImageStatus['history']> {
  let layer = 0;
  return (config.history ?? []).slice(0, 1024).map((entry) => {
    const sizeBytes = entry.empty_layer ? 0 : (layers[layer++]?.sizeBytes ?? 0);
    return {
      ...(entry.created_by ? { createdBy: entry.created_by } : {}),
      sizeBytes,
      ...(entry.created ? { created: entry.created } : {}),
    };
  });
}
