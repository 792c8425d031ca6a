// Metrics of the shim.
import { Gauge, Histogram, type Registry } from '../lib/metrics.ts';
import type { Shim } from './rpc/deps.ts';

export interface ShimMetrics {
  /** `RuntimeService/Version`, seconds, gRPC code name. */
  observeCall(method: string, seconds: number, code: string): void;
  /** Counts what `shim` holds at each scrape. */
  watch(shim: Shim): void;
}

export function createShimMetrics(registry: Registry): ShimMetrics {
  const calls = new Histogram({
    name: 'windlass_shim_rpc_duration_seconds',
    help: 'Duration of the calls served, by method and gRPC code.',
    labelNames: ['method', 'code'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [registry],
  });
  return {
    observeCall: (method, seconds, code) => calls.observe({ method, code }, seconds),
    watch(shim) {
      const count = (name: string, help: string, phases: readonly string[], list: () => readonly { phase: string }[]) =>
        new Gauge({
          name,
          help,
          labelNames: ['state'],
          registers: [registry],
          collect() {
            for (const state of phases) this.set({ state }, list().filter(({ phase }) => phase === state).length);
          },
        });
      count('windlass_shim_containers', 'Containers by state.', ['created', 'running', 'exited'], () =>
        shim.store.containers.list(),
      );
      count('windlass_shim_sandboxes', 'Sandboxes by state.', ['ready', 'stopped'], () => shim.store.sandboxes.list());
    },
  };
}
