// One round of chaos: Services, failures, and the wait until everything is as it should be.
import type { Cluster } from '../cluster.ts';
import { waitFor } from '../wait.ts';
import { runChaos, type ChaosOptions } from './chaos.ts';
import { CHAOS_OVERLAY, CHAOS_PORT, CHAOS_PUBLISHED, readWanted, startChaosServices } from './chaos-services.ts';
import { checkCluster } from './check-cluster.ts';

export interface ChaosRound {
  /** What is wrong in the end; none when all is well. */
  readonly problems: readonly string[];
  readonly restedAfterMs: number;
}

const REST_MS = 120_000;
/** What takes longer than this to come to rest is told meanwhile. */
const PATIENCE_SECONDS = 15;

/** Breaks, repairs, and waits until nothing is wrong any more, two minutes at most. */
export async function runChaosRound(cluster: Cluster, options: Omit<ChaosOptions, 'disturb'>): Promise<ChaosRound> {
  const services = await startChaosServices(cluster);
  await runChaos(cluster, { ...options, disturb: services.disturb });
  const startedAt = performance.now();
  await readWanted(cluster, services);
  let problems: string[] = [];
  const isWell = async (): Promise<boolean> => {
    problems = await checkCluster(cluster, {
      ...{ services: services.wanted, port: CHAOS_PORT, overlays: [CHAOS_OVERLAY], published: CHAOS_PUBLISHED },
    });
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    if (seconds >= PATIENCE_SECONDS && problems.length > 0) options.say?.(`not yet after ${seconds} s: ${problems[0]}`);
    return problems.length === 0;
  };
  await cluster.waitForReady(...cluster.nodes.map(({ name }) => name));
  await waitFor(isWell, { timeoutMs: REST_MS, intervalMs: 1_000 }).catch(() => undefined);
  const restedAfterMs = performance.now() - startedAt;
  if (problems.length > 0) problems.push(`the controllers said: ${cluster.controllers.tail(30)}`);
  const violations = await services.violations();
  return {
    problems: violations === '' ? problems : [...problems, `the volume had two holders: ${violations}`],
    restedAfterMs,
  };
}
