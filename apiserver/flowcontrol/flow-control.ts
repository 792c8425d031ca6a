// Request priority, as API Priority and Fairness in its simplest form: fixed levels, each with seats of its own, so that
// no number of lists or writes can keep a lease from being renewed.
import { Counter, Gauge, Histogram, type Registry } from '../../lib/metrics.ts';
import { LEVELS, type Classification } from './classify.ts';
import { createFairQueue } from './fair-queue.ts';

const MAX_WAITING_PER_FLOW = 500;
const MAX_WAITING = 2_000;
/** A quarter of the longest that a request may take, as upstream. */
const MAX_WAIT_MS = 15_000;
const SECONDS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];

export interface FlowControl {
  /**
   * Resolves when it is the turn of a request; call what it returns when it is answered, more than once does no harm. Rejects with TooManyRequests when
   * too many wait already or the wait was too long, and with Unavailable when `signal` fired.
   */
  admit(classification: Classification, signal: AbortSignal): Promise<() => void>;
}

/** With free seats at all levels. */
export function createFlowControl(registry: Registry): FlowControl {
  const metrics = createFlowMetrics(registry);
  const queues = new Map(
    LEVELS.map(({ name, seats }) => [
      name,
      createFairQueue({ seats, perFlow: MAX_WAITING_PER_FLOW, total: MAX_WAITING, maxWaitMs: MAX_WAIT_MS }),
    ]),
  );
  return {
    async admit({ level, schema, flow }, signal) {
      const queue = queues.get(level);
      if (!queue) throw new Error(`there is no priority level ${level}`);
      const labels = { priority_level: level, flow_schema: schema };
      const arrivedAt = performance.now();
      metrics.waiting.inc(labels);
      let leave: () => void;
      try {
        leave = await queue.acquire(flow, signal, (reason) => metrics.rejected.inc({ ...labels, reason }));
      } catch (error) {
        metrics.waited.observe({ ...labels, execute: 'false' }, (performance.now() - arrivedAt) / 1000);
        throw error;
      } finally {
        metrics.waiting.dec(labels);
      }
      const startedAt = performance.now();
      metrics.waited.observe({ ...labels, execute: 'true' }, (startedAt - arrivedAt) / 1000);
      metrics.dispatched.inc(labels);
      metrics.executing.inc(labels);
      let isDone = false;
      return () => {
        if (isDone) return;
        isDone = true;
        leave();
        metrics.executing.dec(labels);
        metrics.executed.observe(labels, (performance.now() - startedAt) / 1000);
      };
    },
  };
}

const FLOW = ['priority_level', 'flow_schema'] as const;

/** Under upstream's names. */
function createFlowMetrics(registry: Registry) {
  const registers = [registry];
  const seats = new Gauge({
    name: 'apiserver_flowcontrol_nominal_limit_seats',
    help: 'Requests of a priority level that are worked on at the same time',
    labelNames: ['priority_level'] as const,
    registers,
  });
  for (const level of LEVELS) seats.set({ priority_level: level.name }, level.seats);
  return {
    rejected: new Counter({
      name: 'apiserver_flowcontrol_rejected_requests_total',
      help: 'Requests turned away, by reason: queue-full, time-out or cancelled',
      labelNames: [...FLOW, 'reason'] as const,
      registers,
    }),
    dispatched: new Counter({
      name: 'apiserver_flowcontrol_dispatched_requests_total',
      help: 'Requests whose turn came',
      labelNames: FLOW,
      registers,
    }),
    waiting: new Gauge({
      name: 'apiserver_flowcontrol_current_inqueue_requests',
      help: 'Requests that wait for their turn now',
      labelNames: FLOW,
      registers,
    }),
    executing: new Gauge({
      name: 'apiserver_flowcontrol_current_executing_requests',
      help: 'Requests that are worked on now; of a watch, its beginning',
      labelNames: FLOW,
      registers,
    }),
    waited: new Histogram({
      name: 'apiserver_flowcontrol_request_wait_duration_seconds',
      help: 'How long requests waited for their turn; execute says whether it came',
      labelNames: [...FLOW, 'execute'] as const,
      buckets: SECONDS,
      registers,
    }),
    executed: new Histogram({
      name: 'apiserver_flowcontrol_request_execution_seconds',
      help: 'How long requests were worked on after their turn came',
      labelNames: FLOW,
      buckets: SECONDS,
      registers,
    }),
  };
}
