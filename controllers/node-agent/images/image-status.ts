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
      /** For a message: how long the pull took, and its size. */
      readonly took?: string;
    }
  | { readonly kind: 'busy'; readonly progress: ImageStatus['progress'] }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string; readonly requeueAfterMs: number };

/** The status after a look at the image; conditions of other writers are kept. Pure. */
export function buildImageStatus(image: Image, fetch: Fetch, nodeName: string, now: number): ImageStatus {
  const old = image.status;
  const type = image.spec.import ? 'Imported' : 'Pulled';
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
    conditions: setConditions(oldConditions, conditions, { now, generation }),
  });
  const { progress: _, ...kept } = old ?? {};
  if (fetch.kind === 'busy') {
    const message = `${image.spec.import ? 'importing' : 'pulling'} on node ${nodeName}`;
    const reason = image.spec.import ? 'Importing' : 'Pulling';
    const isThere = old?.digest !== undefined;
    return withConditions(
      { ...kept, progress: fetch.progress },
      isThere
        ? []
        : [
            { type, status: 'False', reason, message },
            { type: 'Ready', status: 'False', reason, message },
          ],
    );
  }
  if (fetch.kind === 'failed') {
    const failed = { status: 'False', reason: fetch.reason, message: fetch.message } as const;
    // An older version that is there can still be used: only the refresh failed.
    return withConditions(
      kept,
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
  const { pushed: _pushed, ...rest } = kept;
  return withConditions(
    {
      ...rest,
      ...found,
      ...(pushed.length > 0 ? { pushed } : {}),
      ...(progress === undefined ? {} : { progress: { phase: 'Pushing', ...progress } }),
      tags: [...new Set(references)],
      nodes: [...new Set([...(old?.nodes ?? []), nodeName])].toSorted(),
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
