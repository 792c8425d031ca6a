// Looks at the logs of running containers now and then and rotates those that have grown past their limit.
import { join } from 'node:path';
import type { Container } from '../../../crds/container.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import { parseQuantity } from '../../../lib/quantity.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import { logDirectoryName, logPathOf } from './log-files.ts';
import { rotateLog } from './rotate-log.ts';

const LOOK_EVERY_MS = 10_000;

export interface LogRotatorDeps {
  readonly containers: () => readonly Container[];
  readonly cache: RuntimeCache;
  readonly runtime: Pick<NodeRuntime, 'reopenLog'>;
  readonly podLogs: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The part that rotates. */
export function createLogRotator(deps: LogRotatorDeps): RunPart {
  return {
    name: 'log rotator',
    async run(signal) {
      while (!signal.aborted) {
        await deps.clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
        for (const container of signal.aborted ? [] : deps.containers()) await rotateOne(deps, container);
      }
    },
  };
}

async function rotateOne(deps: LogRotatorDeps, container: Container): Promise<void> {
  const { name, namespace = '', uid = '' } = container.metadata;
  const run = deps.cache.viewOf(uid).containers.find(({ state }) => state === 'Running');
  if (!run) return;
  const path = join(deps.podLogs, logDirectoryName(namespace, name, uid), logPathOf(name, run.attempt));
  const { logging } = container.spec;
  const limits = { maxSizeBytes: parseQuantity(logging?.maxSize ?? '10Mi'), maxFiles: logging?.maxFiles ?? 5 };
  try {
    await rotateLog(path, run.attempt, limits, () => deps.runtime.reopenLog(run.id), deps.clock.now());
  } catch (err) {
    deps.log.warn({ err, path }, 'failed to rotate log');
  }
}
