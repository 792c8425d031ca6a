import type { Readable } from 'node:stream';
import { Counter, Gauge, Histogram, type Registry } from '../lib/metrics.ts';
import type { Garbage } from './store/collect-garbage.ts';
import type { RegistryStore } from './store/registry-store.ts';
import type { Uploads } from './store/uploads.ts';

export interface RegistryMetrics {
  observe(route: string, method: string, status: number, seconds: number): void;
  /** The same bytes, counted; `onRead` is called when the first of them is asked for. */
  countReceived(body: Readable, onRead: () => void): AsyncIterable<Buffer>;
  collected(garbage: Garbage): void;
}

/** Metrics of the registry in `registry`; the gauges read `store` and `uploads` at each scrape. */
export function createRegistryMetrics(registry: Registry, store: RegistryStore, uploads: Uploads): RegistryMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: 'windlass_registry_requests_total',
    help: 'Requests by route, method and status code.',
    labelNames: ['route', 'method', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'windlass_registry_request_duration_seconds',
    help: 'Time until the last byte of an answer.',
    labelNames: ['route', 'method'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers,
  });
  const received = new Counter({
    name: 'windlass_registry_received_bytes_total',
    help: 'Bytes of request bodies.',
    registers,
  });
  const collected = new Counter({
    name: 'windlass_registry_collected_total',
    help: 'What garbage collection has removed, by kind; for kind bytes, bytes.',
    labelNames: ['kind'],
    registers,
  });
  new Gauge({
    name: 'windlass_registry_open_uploads',
    help: 'Uploads that are not finished.',
    registers,
    collect() {
      this.set(uploads.usage().count);
    },
  });
  new Gauge({
    name: 'windlass_registry_repositories',
    help: 'Repositories that hold something.',
    registers,
    collect() {
      this.set(store.names().length);
    },
  });
  new Gauge({
    name: 'windlass_registry_stored_bytes',
    help: 'Bytes of all blobs and manifests that some repository has.',
    registers,
    collect() {
      this.set(store.storedBytes());
    },
  });
  return {
    observe(route, method, status, seconds) {
      // A method is the client's word: what nobody serves is counted under one name.
      const known = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(method) ? method : 'other';
      requests.inc({ route, method: known, code: String(status) });
      durations.observe({ route, method: known }, seconds);
    },
    countReceived: (body, onRead) => count(body, onRead, (bytes) => received.inc(bytes)),
    collected(garbage) {
      for (const [kind, many] of Object.entries(garbage)) collected.inc({ kind }, many as number);
    },
  };
}

async function* count(body: Readable, onRead: () => void, onBytes: (bytes: number) => void): AsyncIterable<Buffer> {
  onRead();
  // Whoever stops in the middle answers on the same connection: it must not be destroyed with the body.
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    onBytes((chunk as Buffer).length);
    yield chunk as Buffer;
  }
}
