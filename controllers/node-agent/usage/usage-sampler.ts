// Measures when somebody asks, and never else: a node whose use nobody wants to know spends nothing on it.
import { readFile } from 'node:fs/promises';
import type { UsageReport } from '../../../crds/usage.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import {
  chooseBase,
  keepSamples,
  parseNodeReading,
  reportUsage,
  type ContainerReading,
  type Sample,
} from './usage-plan.ts';

/** Within this time an answer is given twice. */
const FRESH_MS = 1_000;
/** How long the first one who asks waits for something to compare with. */
const FIRST_WINDOW_MS = 1_000;

export interface UsageDeps {
  readonly runtime: Pick<NodeRuntime, 'containerUsage'>;
  readonly cache: Pick<RuntimeCache, 'container' | 'sandboxOf'>;
  readonly clock: Clock;
}

/** The use of CPU and memory now. Those who ask at the same time share a measurement. */
export function createUsageSampler(deps: UsageDeps): (signal: AbortSignal) => Promise<UsageReport> {
  const { clock } = deps;
  let samples: readonly Sample[] = [];
  let current: { report: Promise<UsageReport>; atMs: number } | undefined;

  async function measure(): Promise<UsageReport> {
    const kept = keepSamples(samples, clock.now());
    if (!chooseBase(kept, clock.now())) {
      kept.push(await takeSample(deps));
      await clock.sleep(FIRST_WINDOW_MS);
    }
    const last = await takeSample(deps);
    const base = chooseBase(kept, last.atMs) ?? last;
    samples = [...kept, last];
    return reportUsage(base, last);
  }

  return async (signal) => {
    if (!current || clock.now() - current.atMs >= FRESH_MS) {
      const next = { report: measure(), atMs: Number.POSITIVE_INFINITY };
      current = next;
      next.report.then(
        () => (next.atMs = clock.now()),
        () => (next.atMs = 0),
      );
    }
    const report = await current.report;
    signal.throwIfAborted();
    return report;
  };
}

async function takeSample({ runtime, cache, clock }: UsageDeps): Promise<Sample> {
  const [usages, stat, meminfo] = await Promise.all([
    runtime.containerUsage(),
    readFile('/proc/stat', 'utf8'),
    readFile('/proc/meminfo', 'utf8'),
  ]);
  const atMs = clock.now();
  const containers = new Map<string, ContainerReading>();
  for (const usage of usages) {
    const state = cache.container(usage.containerId);
    const sandbox = state && cache.sandboxOf(state);
    // Not ours, or gone again.
    if (!state || !sandbox) continue;
    containers.set(usage.containerId, {
      namespace: sandbox.namespace,
      name: sandbox.name,
      uid: sandbox.uid,
      startedAtMs: state.startedAtMs,
      atMs: usage.cpuReadAtMs || atMs,
      cpuMs: usage.cpuNanoSeconds / 1e6,
      memoryBytes: usage.workingSetBytes,
    });
  }
  return { atMs, node: parseNodeReading(stat, meminfo, atMs), containers };
}
