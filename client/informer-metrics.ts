// What can be seen of informers from outside: objects, events, lists and failures by kind.
import { Counter, Gauge, type Registry } from '../lib/metrics.ts';

export interface InformerMetrics {
  listed(plural: string, objects: number): void;
  observed(plural: string, type: string, objects: number): void;
  failed(plural: string): void;
}

/** The series of all informers of one process. */
export function createInformerMetrics(registry: Registry): InformerMetrics {
  const registers = [registry];
  const objects = new Gauge({
    name: 'windlass_informer_objects',
    help: 'Objects in the cache of an informer, by resource',
    labelNames: ['resource'] as const,
    registers,
  });
  const events = new Counter({
    name: 'windlass_informer_events_total',
    help: 'Watch events received, by resource and type',
    labelNames: ['resource', 'type'] as const,
    registers,
  });
  const lists = new Counter({
    name: 'windlass_informer_lists_total',
    help: 'Complete lists fetched, by resource',
    labelNames: ['resource'] as const,
    registers,
  });
  const failures = new Counter({
    name: 'windlass_informer_failures_total',
    help: 'Lists and watches that failed and were retried, by resource',
    labelNames: ['resource'] as const,
    registers,
  });
  return {
    listed(resource, size) {
      lists.inc({ resource });
      objects.set({ resource }, size);
    },
    observed(resource, type, size) {
      events.inc({ resource, type });
      objects.set({ resource }, size);
    },
    failed: (resource) => failures.inc({ resource }),
  };
}
