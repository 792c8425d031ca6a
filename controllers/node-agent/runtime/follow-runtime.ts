// Follows the runtime: its event stream for what happens, a relist at each (re)connect and now and then for what an
// event stream can lose.
import type { Clock } from '../../../lib/clock.ts';
import { messageOf, reasonOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import type { NodeRuntime, SandboxState } from './node-runtime.ts';
import type { RuntimeCache } from './runtime-cache.ts';

const RELIST_MS = 30_000;
/** The same for a runtime that tells of nothing by itself (containerd 1.6): what kubelet does. */
const POLL_MS = 1_000;
const RETRY_MS = 200;
const RETRY_LONG_MS = 2000;

export interface FollowRuntimeDeps {
  readonly runtime: NodeRuntime;
  readonly cache: RuntimeCache;
  readonly clock: Clock;
  readonly log: Logger;
  /** Something about these sandboxes has changed. */
  readonly onChange: (sandboxes: readonly SandboxState[]) => void;
  /** The runtime answers again after it was away: what it was told may be forgotten. */
  readonly onConnect: (runtime: { readonly name: string; readonly version: string }) => void;
  readonly onHealth: (problem: string | undefined) => void;
}

/** The part that keeps `cache` current until it is stopped. */
export function createRuntimeFollower(deps: FollowRuntimeDeps): RunPart {
  return {
    name: 'runtime follower',
    async run(signal) {
      let failures = 0;
      while (!signal.aborted) {
        try {
          await followOnce(deps, signal, () => {
            failures = 0;
          });
        } catch (error) {
          // A call that the runtime itself cancelled, as it ends, is no reason to follow it no longer.
          if (signal.aborted) return;
          failures += 1;
          deps.onHealth(`container runtime: ${messageOf(error)}`);
          if (failures === 1) deps.log.warn({ err: error }, 'the container runtime is away');
        }
        await deps.clock.sleep(failures > 20 ? RETRY_LONG_MS : RETRY_MS, signal).catch(() => undefined);
      }
    },
  };
}

async function followOnce(deps: FollowRuntimeDeps, signal: AbortSignal, onConnected: () => void): Promise<void> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  // The stream opens before the list: what happens in between is then in the stream.
  const following = followEvents(deps, both).finally(() => stop.abort());
  // Awaited below; until then a failure must not count as unhandled.
  following.catch(() => undefined);
  try {
    const { name, version } = await deps.runtime.version();
    const changed = await deps.cache.relist();
    deps.log.info(
      { runtime: name, version, sandboxes: deps.cache.sandboxes().length },
      'connected to the container runtime',
    );
    onConnected();
    deps.onHealth(undefined);
    deps.onConnect({ name, version });
    deps.onChange(changed);
    while (!both.aborted) {
      await deps.clock.sleep(RELIST_MS, both).catch(() => undefined);
      if (!both.aborted) deps.onChange(await deps.cache.relist());
    }
  } finally {
    stop.abort();
  }
  await following;
}

async function followEvents(deps: FollowRuntimeDeps, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of deps.runtime.events(signal)) {
      const sandbox = deps.cache.apply(event);
      if (sandbox) deps.onChange([sandbox]);
    }
  } catch (error) {
    if (signal.aborted) return;
    if (reasonOf(error) !== 'Unimplemented') throw error;
    while (!signal.aborted) {
      await deps.clock.sleep(POLL_MS, signal).catch(() => undefined);
      if (!signal.aborted) deps.onChange(await deps.cache.relist());
    }
  }
}
