// The copies that an Image has at other registries: what of spec.push is done, what is under way, and what is wrong.
import type { Image, ImageStatus } from '../../../crds/image.ts';
import type { NewCondition } from '../../runtime/conditions.ts';
import type { Credentials, TransferProgress } from '../runtime/node-runtime.ts';
import type { ImagePusher, PushState } from './image-pusher.ts';
import { normaliseReference } from './reference.ts';

export type PushedList = NonNullable<ImageStatus['pushed']>;

export interface PushOutcome {
  /** Pushes that are done; entries of references that are no longer asked for are gone. */
  readonly pushed: PushedList;
  /** Absent when nothing is to be pushed. */
  readonly condition: NewCondition | undefined;
  readonly progress: TransferProgress | undefined;
  readonly requeueAfterMs: number | undefined;
}

export interface PushDeps {
  readonly pusher: ImagePusher;
  readonly now: () => number;
  readonly credentialsFor: (
    secretNames: readonly string[],
    reference: string,
  ) => Promise<{ found?: Credentials | undefined; missing?: string }>;
  readonly onChange: () => void;
}

/** One step for every reference of spec.push that does not have the image with this digest yet. */
export async function pushAll(deps: PushDeps, image: Image, digest: string): Promise<PushOutcome> {
  const pushed: PushedList = [];
  const states: { reference: string; state: PushState }[] = [];
  for (const target of image.spec.push ?? []) {
    const reference = normaliseReference(target.reference);
    const before = image.status?.pushed?.find((done) => done.reference === reference);
    if (before && (before.imageDigest ?? before.digest) === digest) {
      pushed.push(before);
      continue;
    }
    const names = target.secretName === undefined ? [] : [target.secretName];
    const credentials = await deps.credentialsFor(names, reference);
    const state: PushState =
      credentials.missing === undefined
        ? deps.pusher.request({ digest, reference, credentials: credentials.found }, deps.onChange)
        : {
            state: 'Failed',
            reason: 'ErrImagePush',
            message: `failed to push ${reference}: secret "${credentials.missing}" not found`,
            retryAtMs: deps.now() + 5000,
          };
    if (state.state === 'Done') pushed.push(toPushed(reference, state.digest, digest));
    else states.push({ reference, state });
  }
  return summarise(pushed, states, deps.now());
}

const toPushed = (reference: string, digest: string, imageDigest: string): PushedList[number] => ({
  ...{ reference, digest },
  ...(digest === imageDigest ? {} : { imageDigest }),
});

/** What all pushes together come to: a failure is told before what is still under way. */
export function summarise(
  pushed: PushedList,
  states: readonly { readonly reference: string; readonly state: PushState }[],
  now: number,
): PushOutcome {
  const failed = states.flatMap(({ state }) => (state.state === 'Failed' ? [state] : []));
  const running = states.flatMap(({ reference, state }) => (state.state === 'Pushing' ? [{ reference, state }] : []));
  const waits = [
    ...(running.length > 0 ? [1000] : []),
    ...failed.map(({ retryAtMs }) => Math.max(retryAtMs - now, 100)),
  ];
  const sum = (field: keyof TransferProgress): number =>
    running.reduce((total, { state }) => total + state.progress[field], 0);
  return {
    pushed,
    condition: conditionOf(
      pushed,
      failed[0],
      running.map(({ reference }) => reference),
    ),
    progress: running.length > 0 ? { completedBytes: sum('completedBytes'), totalBytes: sum('totalBytes') } : undefined,
    requeueAfterMs: waits.length > 0 ? Math.min(...waits) : undefined,
  };
}

function conditionOf(
  pushed: PushedList,
  failed: Extract<PushState, { state: 'Failed' }> | undefined,
  running: readonly string[],
): NewCondition | undefined {
  if (failed) return { type: 'Pushed', status: 'False', reason: failed.reason, message: failed.message };
  if (running.length > 0) {
    return { type: 'Pushed', status: 'False', reason: 'Pushing', message: `pushing to ${running.join(', ')}` };
  }
  if (pushed.length === 0) return undefined;
  const places = Map.groupBy(pushed, ({ digest }) => digest);
  const message = [...places]
    .map(([digest, list]) => `${digest} is at ${list.map(({ reference }) => reference).join(', ')}`)
    .join('; ');
  return { type: 'Pushed', status: 'True', reason: 'Pushed', message };
}
