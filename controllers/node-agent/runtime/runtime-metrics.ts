// How often the runtime was asked, how long it took and how often it failed, under kubelet's names.
import { Counter, Histogram, type Registry } from '../../../lib/metrics.ts';

export interface RuntimeMetrics {
  /** Runs one call of the runtime and counts it under `operation`. */
  measure<T>(operation: string, call: () => Promise<T>): Promise<T>;
}

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Registers kubelet_runtime_operations_*. */
export function createRuntimeMetrics(registry: Registry): RuntimeMetrics {
  const options = { labelNames: ['operation_type'], registers: [registry] };
  const total = new Counter({
    name: 'kubelet_runtime_operations_total',
    help: 'Calls of the container runtime',
    ...options,
  });
  const errors = new Counter({
    name: 'kubelet_runtime_operations_errors_total',
    help: 'Calls of the container runtime that failed',
    ...options,
  });
  const duration = new Histogram({
    name: 'kubelet_runtime_operations_duration_seconds',
    help: 'Time of a call of the container runtime',
    buckets: BUCKETS,
    ...options,
  });
  return {
    async measure(operation, call) {
      const labels = { operation_type: operation };
      const startedAt = performance.now();
      total.inc(labels);
      try {
        return await call();
      } catch (error) {
        errors.inc(labels);
        throw error;
      } finally {
        duration.observe(labels, (performance.now() - startedAt) / 1000);
      }
    },
  };
}
