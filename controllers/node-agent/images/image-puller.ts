// Pulls in the background: one at a time per reference, shared by all that wait for it, with kubelet's backoff.
import { createHash } from 'node:crypto';
import { backoffDelayMs } from '../../../lib/backoff.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAbort, messageOf } from '../../../lib/errors.ts';
import type { Credentials, NodeRuntime, PullProgress } from '../runtime/node-runtime.ts';
import { registryOf } from './reference.ts';

const PULL_BACKOFF = { initialMs: 10_000, maxMs: 300_000 } as const;

export type PullState =
  | { readonly state: 'Done'; readonly endedAtMs: number }
  | { readonly state: 'Pulling'; readonly progress: PullProgress | undefined }
  | {
      readonly state: 'Failed';
      readonly message: string;
      readonly reason: 'ErrImagePull' | 'ImagePullBackOff';
      readonly retryAtMs: number;
    };

export interface ImagePuller {
  /**
   * Sees to it that a pull of `reference` has been done since `sinceMs`, starting one if need be; `onChange` runs
   * when the state changes. Returns at once.
   */
  request(
    reference: string,
    credentials: Credentials | undefined,
    options: { sinceMs: number; onChange: () => void },
  ): PullState;
}

interface Pull {
  state: PullState;
  failures: number;
  readonly waiters: Set<() => void>;
}

/** A puller whose pulls end with `signal`. */
export function createImagePuller(
  runtime: Pick<NodeRuntime, 'pullImage'>,
  clock: Clock,
  signal: AbortSignal,
): ImagePuller {
  const pulls = new Map<string, Pull>();

  function start(pull: Pull, reference: string, credentials: Credentials | undefined): void {
    pull.state = { state: 'Pulling', progress: undefined };
    const onProgress = (progress: PullProgress): void => {
      if (pull.state.state === 'Pulling') pull.state = { state: 'Pulling', progress };
    };
    const wake = (): void => {
      const waiters = [...pull.waiters];
      pull.waiters.clear();
      for (const waiter of waiters) waiter();
    };
    runtime.pullImage(reference, credentials, onProgress, signal).then(
      () => {
        pull.failures = 0;
        pull.state = { state: 'Done', endedAtMs: clock.now() };
        wake();
      },
      (error: unknown) => {
        if (isAbort(error) && signal.aborted) return;
        pull.failures += 1;
        pull.state = {
          state: 'Failed',
          reason: 'ErrImagePull',
          message: pullMessage(reference, messageOf(error)),
          retryAtMs: clock.now() + backoffDelayMs(pull.failures, PULL_BACKOFF),
        };
        wake();
      },
    );
  }

  return {
    request(reference, credentials, { sinceMs, onChange }) {
      const key = pullKey(reference, credentials);
      const pull = pulls.get(key) ?? { state: { state: 'Done', endedAtMs: -1 }, failures: 0, waiters: new Set() };
      pulls.set(key, pull);
      const now = clock.now();
      if (pull.state.state === 'Done' && pull.state.endedAtMs < sinceMs) start(pull, reference, credentials);
      else if (pull.state.state === 'Failed' && pull.state.retryAtMs <= now) start(pull, reference, credentials);
      else if (pull.state.state === 'Failed' && pull.state.reason === 'ErrImagePull') {
        // Seen once as the failure itself, from then on as waiting for the next try.
        const seen = pull.state;
        pull.state = { ...seen, reason: 'ImagePullBackOff' };
        return seen;
      }
      if (pull.state.state === 'Pulling') pull.waiters.add(onChange);
      return pull.state;
    },
  };
}

/** Names the registry, whatever the runtime's message says. */
export function pullMessage(reference: string, cause: string): string {
  const registry = registryOf(reference);
  return `failed to pull ${reference} from registry ${registry}: ${cause}`;
}

// Credentials are part of the key, so that a pull with the right ones does not wait behind one with the wrong ones.
function pullKey(reference: string, credentials: Credentials | undefined): string {
  if (!credentials) return reference;
  return `${reference} ${createHash('sha256').update(`${credentials.username}\0${credentials.password}`).digest('hex')}`;
}
