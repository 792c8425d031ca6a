// Pushes in the background: one at a time per image and reference, with a growing wait after failures.
import { createHash } from 'node:crypto';
import { backoffDelayMs } from '../../../lib/backoff.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAbort, messageOf } from '../../../lib/errors.ts';
import type { Credentials, NodeRuntime, TransferProgress } from '../runtime/node-runtime.ts';
import { registryOf } from './reference.ts';

const PUSH_BACKOFF = { initialMs: 10_000, maxMs: 300_000 } as const;

export type PushState =
  /** With the digest of the manifest at the registry. */
  | { readonly state: 'Done'; readonly digest: string }
  | { readonly state: 'Pushing'; readonly progress: TransferProgress }
  | {
      readonly state: 'Failed';
      readonly reason: 'ErrImagePush' | 'ImagePushBackOff';
      readonly message: string;
      readonly retryAtMs: number;
    };

export interface PushOrder {
  /** Manifest digest of an image that is on the node. */
  readonly digest: string;
  /** In full. */
  readonly reference: string;
  readonly credentials: Credentials | undefined;
}

export interface ImagePusher {
  /** Starts the push, or says how it stands; `onChange` runs when that changes. A push that is done is told once. */
  request(order: PushOrder, onChange: () => void): PushState;
}

interface Push {
  state: PushState;
  failures: number;
  readonly waiters: Set<() => void>;
}

/** A pusher whose pushes end with `signal`. */
export function createImagePusher(
  runtime: Pick<NodeRuntime, 'pushImage'>,
  clock: Clock,
  signal: AbortSignal,
): ImagePusher {
  const pushes = new Map<string, Push>();

  async function run(push: Push, { digest, reference, credentials }: PushOrder): Promise<void> {
    push.state = { state: 'Pushing', progress: { completedBytes: 0, totalBytes: 0 } };
    try {
      const pushed = await runtime.pushImage(
        digest,
        reference,
        credentials,
        (progress) => (push.state = { state: 'Pushing', progress }),
        signal,
      );
      push.state = { state: 'Done', digest: pushed };
    } catch (error) {
      if (isAbort(error) && signal.aborted) return;
      push.failures += 1;
      push.state = {
        state: 'Failed',
        reason: 'ErrImagePush',
        message: `failed to push ${reference} to registry ${registryOf(reference)}: ${messageOf(error)}`,
        retryAtMs: clock.now() + backoffDelayMs(push.failures, PUSH_BACKOFF),
      };
    }
    const waiters = [...push.waiters];
    push.waiters.clear();
    for (const waiter of waiters) waiter();
  }

  return {
    request(order, onChange) {
      const key = keyOf(order);
      const push: Push = pushes.get(key) ?? {
        state: { state: 'Failed', reason: 'ErrImagePush', message: '', retryAtMs: 0 },
        failures: 0,
        waiters: new Set(),
      };
      pushes.set(key, push);
      const { state } = push;
      if (state.state === 'Done') {
        // Whoever asks again has lost the answer, or wants it pushed once more.
        pushes.delete(key);
        return state;
      }
      if (state.state === 'Failed') {
        if (clock.now() >= state.retryAtMs) void run(push, order);
        else if (state.reason === 'ErrImagePush') push.state = { ...state, reason: 'ImagePushBackOff' };
      }
      if (push.state.state !== 'Pushing') return state;
      push.waiters.add(onChange);
      return push.state;
    },
  };
}

// Credentials are part of the key: a corrected Secret need not wait for what the wrong one earned.
function keyOf({ digest, reference, credentials }: PushOrder): string {
  const secret = createHash('sha256')
    .update(JSON.stringify(credentials ?? null))
    .digest('hex');
  return `${digest} ${reference} ${secret}`;
}
