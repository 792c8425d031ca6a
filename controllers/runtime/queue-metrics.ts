// Metrics of the control loop under the names that Kubernetes dashboards know, each series at zero from the start.
import { Counter, Gauge, Histogram, type Registry } from '../../lib/metrics.ts';

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];

/** What one queue reports. */
export interface QueueMetrics {
  added(): void;
  retried(): void;
  depth(keys: number): void;
  queued(seconds: number): void;
  worked(seconds: number): void;
  /** `seconds` is asked at each scrape: time that unfinished keys have been worked on, summed. */
  trackUnfinished(seconds: () => number): void;
}

export type ReconcileOutcome = 'success' | 'error' | 'requeue_after' | 'terminal_error';
const OUTCOMES: readonly ReconcileOutcome[] = ['success', 'error', 'requeue_after', 'terminal_error'];

export interface LoopMetrics {
  queue(name: string): QueueMetrics;
  reconciled(controller: string, outcome: ReconcileOutcome, seconds: number): void;
  leader(name: string, isLeader: boolean): void;
}

/** Registers the metrics of all controllers of a process. */
export function createLoopMetrics(registry: Registry): LoopMetrics {
  const registers = [registry];
  const named = { registers, labelNames: ['name'] };
  const adds = new Counter({ name: 'workqueue_adds_total', help: 'Keys added to the queue', ...named });
  const retries = new Counter({ name: 'workqueue_retries_total', help: 'Keys added again after a failure', ...named });
  const depth = new Gauge({ name: 'workqueue_depth', help: 'Keys waiting in the queue', ...named });
  const queued = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'Time a key waits in the queue',
    buckets: SECONDS,
    ...named,
  });
  const worked = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'Time a key is worked on',
    buckets: SECONDS,
    ...named,
  });
  const unfinished = new Map<string, () => number>();
  new Gauge({
    name: 'workqueue_unfinished_work_seconds',
    help: 'Time that keys not yet finished have been worked on',
    ...named,
    collect() {
      for (const [name, seconds] of unfinished) this.set({ name }, seconds());
    },
  });
  const reconciles = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Reconciliations by outcome',
    registers,
    labelNames: ['controller', 'result'],
  });
  const errors = new Counter({
    name: 'controller_runtime_reconcile_errors_total',
    help: 'Reconciliations that failed',
    registers,
    labelNames: ['controller'],
  });
  const times = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'Time of one reconciliation',
    registers,
    labelNames: ['controller'],
    buckets: SECONDS,
  });
  const leaders = new Gauge({
    name: 'leader_election_master_status',
    help: '1 while this process holds the lease',
    ...named,
  });
  return {
    queue(name) {
      adds.inc({ name }, 0);
      retries.inc({ name }, 0);
      depth.set({ name }, 0);
      queued.zero({ name });
      worked.zero({ name });
      errors.inc({ controller: name }, 0);
      times.zero({ controller: name });
      for (const result of OUTCOMES) reconciles.inc({ controller: name, result }, 0);
      return {
        added: () => adds.inc({ name }),
        retried: () => retries.inc({ name }),
        depth: (keys) => depth.set({ name }, keys),
        queued: (seconds) => queued.observe({ name }, seconds),
        worked: (seconds) => worked.observe({ name }, seconds),
        trackUnfinished: (seconds) => void unfinished.set(name, seconds),
      };
    },
    reconciled(controller, result, seconds) {
      reconciles.inc({ controller, result });
      if (result === 'error' || result === 'terminal_error') errors.inc({ controller });
      times.observe({ controller }, seconds);
    },
    leader: (name, isLeader) => leaders.set({ name }, isLeader ? 1 : 0),
  };
}
