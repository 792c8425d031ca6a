// Pulls in the background: one at a time per reference, shared by all that wait for it, with kubelet's backoff.
import { createHash } from 'node:crypto';
import { backoffDelayMs } from '../../../lib/backoff.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAbort, messageOf } from '../../../lib/errors.ts';
import { formatSize } from '../../../lib/quantity.ts';
import type { Credentials, NodeRuntime, PeerSource, PullProgress } from '../runtime/node-runtime.ts';
import { registryOf } from './reference.ts';

const PULL_BACKOFF = { initialMs: 10_000, maxMs: 300_000 } as const;

/** Beyond this many, pulls that were over this long ago are forgotten. */
const MAX_REMEMBERED = 256;
const REMEMBERED_MS = 600_000;

export type PullState =
  | { readonly state: 'Done'; readonly endedAtMs: number; readonly tookMs: number; readonly bytes: number }
  | { readonly state: 'Pulling'; readonly progress: PullProgress | undefined }
  | {
      readonly state: 'Failed';
      readonly message: string;
      readonly reason: 'ErrImagePull' | 'ImagePullBackOff';
      readonly retryAtMs: number;
    };

/** What the API tells about an image that another node may have. */
export interface KnownImage {
  /** Nodes that have it. */
  readonly nodes: readonly string[];
  /** Of its manifest; absent where the registry has to say what the reference means. */
  readonly digest?: string;
  /** Built or imported: no registry has it. */
  readonly isLocal: boolean;
}

export interface ImagePuller {
  /**
   * Sees to it that a pull of `reference` has been done since `sinceMs`, starting one if need be; `onEnd` runs once
   * when the pull that is under way ends, the latest of each `waiter`. Returns at once.
   */
  request(
    reference: string,
    credentials: Credentials | undefined,
    options: {
      sinceMs: number;
      waiter: string;
      onEnd: (end: PullState) => void;
      known?: KnownImage | undefined;
    },
  ): PullState;
}

interface Pull {
  state: PullState;
  failures: number;
  readonly waiters: Map<string, (end: PullState) => void>;
}

/** `in 1.5 s (12.3MB)`, for a message about a pull. */
export const describePull = ({ tookMs, bytes }: { tookMs: number; bytes: number }): string =>
  `in ${(tookMs / 1000).toFixed(1)} s${bytes > 0 ? ` (${formatSize(bytes)})` : ''}`;

const NEVER: PullState = { state: 'Done', endedAtMs: -1, tookMs: 0, bytes: 0 };

/** A puller whose pulls end with `signal`. */
export function createImagePuller(
  runtime: Pick<NodeRuntime, 'pullImage'>,
  clock: Clock,
  signal: AbortSignal,
  /** Where the runtime reaches other nodes; undefined = they are not asked. */
  peerSocket?: string,
): ImagePuller {
  const pulls = new Map<string, Pull>();

  function start(
    pull: Pull,
    reference: string,
    credentials: Credentials | undefined,
    known: KnownImage | undefined,
  ): void {
    pull.state = { state: 'Pulling', progress: undefined };
    const startedAtMs = clock.now();
    let bytes = 0;
    const onProgress = (progress: PullProgress): void => {
      bytes = Math.max(bytes, progress.totalBytes);
      if (pull.state.state === 'Pulling') pull.state = { state: 'Pulling', progress };
    };
    const wake = (): void => {
      const waiters = [...pull.waiters.values()];
      pull.waiters.clear();
      for (const waiter of waiters) waiter(pull.state);
    };
    const peers = peerSocket === undefined ? undefined : peerSource(peerSocket, known);
    runtime.pullImage(reference, credentials, onProgress, signal, peers).then(
      () => {
        pull.failures = 0;
        pull.state = { state: 'Done', endedAtMs: clock.now(), tookMs: clock.now() - startedAtMs, bytes };
        wake();
      },
      (error: unknown) => {
        if (isAbort(error) && signal.aborted) return;
        pull.failures += 1;
        pull.state = {
          state: 'Failed',
          reason: 'ErrImagePull',
          message: known?.isLocal
            ? `failed to get ${reference} from another node: ${messageOf(error)}`
            : pullMessage(reference, messageOf(error)),
          retryAtMs: clock.now() + backoffDelayMs(pull.failures, PULL_BACKOFF),
        };
        wake();
      },
    );
  }

  /** What is over is asked about by those that waited for it, soon or never. */
  function forgetOld(): void {
    if (pulls.size <= MAX_REMEMBERED) return;
    const before = clock.now() - REMEMBERED_MS;
    for (const [key, { state }] of pulls) {
      const overAtMs =
        state.state === 'Pulling' ? undefined : state.state === 'Done' ? state.endedAtMs : state.retryAtMs;
      if (overAtMs !== undefined && overAtMs < before) pulls.delete(key);
    }
  }

  return {
    request(reference, credentials, { sinceMs, waiter, onEnd, known }) {
      const key = `${pullKey(reference, credentials)} ${known?.digest ?? ''}`;
      forgetOld();
      const pull = pulls.get(key) ?? { state: NEVER, failures: 0, waiters: new Map() };
      pulls.set(key, pull);
      const now = clock.now();
      if (pull.state.state === 'Done' && pull.state.endedAtMs < sinceMs) start(pull, reference, credentials, known);
      else if (pull.state.state === 'Failed' && pull.state.retryAtMs <= now) start(pull, reference, credentials, known);
      else if (pull.state.state === 'Failed' && pull.state.reason === 'ErrImagePull') {
        // Seen once as the failure itself, from then on as waiting for the next try.
        const seen = pull.state;
        pull.state = { ...seen, reason: 'ImagePullBackOff' };
        return seen;
      }
      if (pull.state.state === 'Pulling') pull.waiters.set(waiter, onEnd);
      return pull.state;
    },
  };
}

function peerSource(socket: string, known: KnownImage | undefined): PeerSource {
  return {
    socket,
    first: known?.nodes ?? [],
    only: known?.isLocal ?? false,
    ...(known?.digest === undefined ? {} : { digest: known.digest }),
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
  return `${reference} ${createHash('sha256').update(JSON.stringify(credentials)).digest('hex')}`;
}
