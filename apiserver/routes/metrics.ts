// Metrics under upstream's names, so that upstream's dashboards read them.
import { Counter, Gauge, Histogram, type Registry } from '../../lib/metrics.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const SECONDS = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];
const REQUEST_LABELS = [
  'verb',
  'dry_run',
  'group',
  'version',
  'resource',
  'subresource',
  'scope',
  'component',
] as const;

export interface RequestLabels {
  readonly verb: string;
  readonly dry_run: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly scope: string;
}

export interface RequestMetrics {
  /** Call at the start of a request; call what it returns at the end with the HTTP code. */
  start(labels: RequestLabels): (code: number, bytes?: number) => void;
  countWatchEvents(resource: { group: string; version: string; kind: string }, count: number, bytes: number): void;
  observeEtcd(operation: string, seconds: number): void;
  watchStore(store: ResourceStore): void;
}

/** Creates and registers the metrics of requests and storage. */
export function createRequestMetrics(registry: Registry): RequestMetrics {
  const registers = [registry];
  const total = new Counter({
    name: 'apiserver_request_total',
    help: 'Requests by verb, resource and HTTP code',
    labelNames: [...REQUEST_LABELS, 'code'],
    registers,
  });
  const duration = new Histogram({
    name: 'apiserver_request_duration_seconds',
    help: 'Duration of requests that are not long-running',
    labelNames: REQUEST_LABELS,
    buckets: SECONDS,
    registers,
  });
  const inflight = new Gauge({
    name: 'apiserver_current_inflight_requests',
    help: 'Requests being handled now, long-running ones left out',
    labelNames: ['request_kind'],
    registers,
  });
  const longRunning = new Gauge({
    name: 'apiserver_longrunning_requests',
    help: 'Watches and streams that are open now',
    labelNames: REQUEST_LABELS,
    registers,
  });
  const watchEvents = new Counter({
    name: 'apiserver_watch_events_total',
    help: 'Events sent to watchers',
    labelNames: ['group', 'version', 'kind'],
    registers,
  });
  const watchBytes = new Counter({
    name: 'windlass_apiserver_watch_bytes_total',
    help: 'Bytes of the events sent to watchers',
    labelNames: ['group', 'version', 'kind'],
    registers,
  });
  const etcd = new Histogram({
    name: 'etcd_request_duration_seconds',
    help: 'Duration of requests to etcd',
    labelNames: ['operation'],
    buckets: SECONDS,
    registers,
  });
  for (const kind of ['readOnly', 'mutating']) inflight.set({ request_kind: kind }, 0);

  return {
    start(labels) {
      const full = { ...labels, component: 'apiserver' };
      const isLong = isLongRunning(labels);
      const kind = { request_kind: /^(GET|LIST|WATCH|HEAD)$/.test(labels.verb) ? 'readOnly' : 'mutating' };
      const begin = performance.now();
      if (isLong) longRunning.inc(full);
      else inflight.inc(kind);
      return (code) => {
        if (isLong) longRunning.dec(full);
        else {
          inflight.dec(kind);
          duration.observe(full, (performance.now() - begin) / 1000);
        }
        total.inc({ ...full, code });
      };
    },
    countWatchEvents({ group, version, kind }, count, bytes) {
      watchEvents.inc({ group, version, kind }, count);
      watchBytes.inc({ group, version, kind }, bytes);
    },
    observeEtcd: (operation, seconds) => etcd.observe({ operation }, seconds),
    watchStore(store) {
      const objects = new Gauge({
        name: 'apiserver_resource_objects',
        help: 'Stored objects by group and resource',
        labelNames: ['group', 'resource'],
        registers,
        collect() {
          for (const [name, count] of store.counts()) {
            const [group = '', resource = ''] = name.split('/');
            this.set({ group: group === 'core' ? '' : group, resource }, count);
          }
        },
      });
      objects.reset();
    },
  };
}

/** Requests that stay open by design; neither timed nor limited. */
export function isLongRunning({ verb, subresource }: Pick<RequestLabels, 'verb' | 'subresource'>): boolean {
  return verb === 'WATCH' || ['log', 'exec', 'attach', 'portforward'].includes(subresource);
}
