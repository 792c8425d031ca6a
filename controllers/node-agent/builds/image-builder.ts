// Builds in the background: one at a time per Image, a few per node, with a growing wait after failures that may pass. A
// build of other inputs ends the one that is under way.
import { backoffDelayMs } from '../../../lib/backoff.ts';
import type { Clock } from '../../../lib/clock.ts';
import { messageOf, reasonOf } from '../../../lib/errors.ts';
import { createLimit } from '../../../lib/limit.ts';
import type { BuildEvent, BuildOutcome, ImageBuild } from '../runtime/image-build.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import { openBuildLog, type BuildLog, type LogOwner } from './build-log.ts';
import { describeFailure, failureReason } from './build-failure.ts';

const BUILD_BACKOFF = { initialMs: 10_000, maxMs: 300_000 } as const;
/** The runtime went away, with the build in it: it starts over when the runtime is back. */
const INTERRUPTED_BACKOFF = { initialMs: 1000, maxMs: 30_000 } as const;
/** Builds at the same time. */
const PARALLEL_BUILDS = 4;

export type BuildState =
  | {
      readonly state: 'Building';
      /** `3/9 RUN make`; absent before the first step. */
      readonly step: string | undefined;
    }
  | {
      readonly state: 'Built';
      readonly result: Extract<BuildOutcome, { kind: 'built' }>;
      readonly startedAtMs: number;
      readonly finishedAtMs: number;
    }
  | {
      readonly state: 'Failed';
      readonly reason: string;
      readonly message: string;
      /** Absent: other inputs alone can help. */
      readonly retryAtMs: number | undefined;
      /** Whether what is built is to blame, and not what it needs from elsewhere. */
      readonly isFinal: boolean;
      /** Reference in full of the image that it needs and could not get. */
      readonly missingImage?: string;
    };

export interface BuildOrder {
  readonly owner: LogOwner;
  /** What is built, as a text: another one is another build. */
  readonly inputs: string;
  readonly build: ImageBuild;
  /** A failure for good is tried again after this: the files may have changed since. Absent = never. */
  readonly refreshMs: number | undefined;
}

export interface ImageBuilder {
  /** Starts the build, or says how it stands; `onChange` runs when it is over. Returns at once. */
  request(order: BuildOrder, onChange: () => void): BuildState;
  /**
   * What the builds of `namespace` need from elsewhere may be there now: those that failed for want of it are tried again
   * at once, those under way once more should they fail for it.
   */
  retry(namespace: string): void;
  /** Ends and forgets the builds of Images that `isKnown` does not know; those that were under way are told. */
  retain(isKnown: (owner: LogOwner) => boolean): readonly LogOwner[];
  /** The attempt whose log is being written. */
  currentAttempt(uid: string): number | undefined;
  /** Calls back when currentAttempt() may have changed, until the returned function is called. */
  subscribe(onChange: () => void): () => void;
}

interface Build {
  readonly owner: LogOwner;
  readonly inputs: string;
  state: BuildState;
  failures: number;
  /** retry() came while it was under way: it may have asked too early for what is there now. */
  mayBeEarly: boolean;
  stop: AbortController;
  running: Promise<void>;
  attempt: number | undefined;
  onChange: () => void;
}

export interface ImageBuilderDeps {
  readonly runtime: Pick<NodeRuntime, 'buildImage'>;
  /** Folder of the logs. */
  readonly logs: string;
  readonly clock: Clock;
}

/** A builder whose builds end with `signal`. */
export function createImageBuilder({ runtime, logs, clock }: ImageBuilderDeps, signal: AbortSignal): ImageBuilder {
  const builds = new Map<string, Build>();
  const listeners = new Set<() => void>();
  const limit = createLimit(PARALLEL_BUILDS);
  const tell = (): void => {
    for (const listener of listeners) listener();
  };

  function start(build: Build, order: BuildOrder, before: Promise<void>): void {
    build.state = { state: 'Building', step: undefined };
    build.mayBeEarly = false;
    build.stop = new AbortController();
    const stop = AbortSignal.any([signal, build.stop.signal]);
    const run = async (): Promise<void> => {
      await before;
      const state = await limit(0, stop, () => runLogged(build, order, stop)).catch((error: unknown) => {
        if (stop.aborted) return undefined;
        return failed(build, messageOf(error), isInterruption(error) ? INTERRUPTED_BACKOFF : BUILD_BACKOFF);
      });
      if (state === undefined) return;
      build.state = state;
      build.onChange();
    };
    build.running = run();
  }

  async function runLogged(
    build: Build,
    { owner, build: wanted, refreshMs }: BuildOrder,
    stop: AbortSignal,
  ): Promise<BuildState | undefined> {
    const startedAtMs = clock.now();
    const log = await openBuildLog(logs, owner, clock);
    build.attempt = log.attempt;
    tell();
    try {
      stop.throwIfAborted();
      const outcome = await runtime.buildImage(wanted, { signal: stop, onEvent: (event) => hear(build, log, event) });
      if (outcome.kind === 'built') {
        build.failures = 0;
        return { state: 'Built', result: outcome, startedAtMs, finishedAtMs: clock.now() };
      }
      await log.write(`ERROR: ${outcome.message}`);
      const message = describeFailure(outcome);
      if (!outcome.isFinal) {
        const { missingImage } = outcome;
        return { ...failed(build, message, BUILD_BACKOFF), ...(missingImage === '' ? {} : { missingImage }) };
      }
      const hasBegun = build.state.state === 'Building' && build.state.step !== undefined;
      const retryAtMs = refreshMs === undefined ? undefined : clock.now() + refreshMs;
      return { state: 'Failed', reason: failureReason(outcome, hasBegun), message, retryAtMs, isFinal: true };
    } catch (error) {
      await log.write(stop.aborted ? 'CANCELED' : `ERROR: ${messageOf(error)}`);
      throw error;
    } finally {
      build.attempt = undefined;
      await log.close();
      tell();
    }
  }

  function hear(build: Build, log: BuildLog, event: BuildEvent): Promise<void> | void {
    if (event.kind === 'log') return log.write(event.text);
    if (build.state.state !== 'Building') return;
    build.state = { state: 'Building', step: `${event.step}/${event.steps} ${event.instruction}` };
  }

  function failed(
    build: Build,
    message: string,
    backoff: typeof BUILD_BACKOFF | typeof INTERRUPTED_BACKOFF,
  ): Extract<BuildState, { state: 'Failed' }> {
    build.failures += 1;
    const retryAtMs = clock.now() + (build.mayBeEarly ? 0 : backoffDelayMs(build.failures, backoff));
    return { state: 'Failed', reason: 'BuildFailed', message, retryAtMs, isFinal: false };
  }

  return {
    request(order, onChange) {
      const { uid } = order.owner;
      const known = builds.get(uid);
      if (known?.inputs === order.inputs) {
        known.onChange = onChange;
        const { state } = known;
        if (state.state === 'Failed' && state.retryAtMs !== undefined && clock.now() >= state.retryAtMs) {
          start(known, order, known.running);
        }
        return known.state;
      }
      known?.stop.abort();
      const build: Build = {
        owner: order.owner,
        inputs: order.inputs,
        state: { state: 'Building', step: undefined },
        failures: 0,
        mayBeEarly: false,
        stop: new AbortController(),
        running: Promise.resolve(),
        attempt: undefined,
        onChange,
      };
      builds.set(uid, build);
      start(build, order, known?.running ?? Promise.resolve());
      return build.state;
    },
    retry(namespace) {
      for (const build of builds.values()) {
        if (build.owner.namespace !== namespace) continue;
        build.mayBeEarly = true;
        if (build.state.state !== 'Failed' || build.state.isFinal) continue;
        build.state = { ...build.state, retryAtMs: clock.now() };
        build.onChange();
      }
    },
    retain(isKnown) {
      const ended = [...builds.values()].filter(({ owner }) => !isKnown(owner));
      for (const { owner, stop } of ended) {
        stop.abort();
        builds.delete(owner.uid);
      }
      return ended.filter(({ state }) => state.state === 'Building').map(({ owner }) => owner);
    },
    currentAttempt: (uid) => builds.get(uid)?.attempt,
    subscribe(onChange) {
      listeners.add(onChange);
      return () => void listeners.delete(onChange);
    },
  };
}

const isInterruption = (error: unknown): boolean => reasonOf(error) === 'Unavailable';
