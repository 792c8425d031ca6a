// Prometheus metrics of one process: a registry with the process_* and nodejs_* defaults, served on a loopback port.
import Registry from 'prom-client/lib/registry.js';
import type { HostPort } from './host-port.ts';
import { createServer } from './http.ts';
import { closeServer, listenOn } from './listen.ts';
import { watchProcess } from './process-metrics.ts';

export { default as Counter } from 'prom-client/lib/counter.js';
export { default as Gauge } from 'prom-client/lib/gauge.js';
export { default as Histogram } from 'prom-client/lib/histogram.js';
export { default as Registry } from 'prom-client/lib/registry.js';

/** A registry that already holds the metrics of the process and of Node. */
export function createMetrics(): Registry {
  const registry = new Registry();
  watchProcess(registry);
  return registry;
}

export interface MetricsServer extends AsyncDisposable {
  /** `host:port` that really listens (the port asked for may be 0). */
  readonly address: string;
}

/**
 * Serves `GET /metrics` (Prometheus text) and `GET /healthz` over plain HTTP. `collect` runs before each scrape and
 * may add text of its own (already in exposition format).
 */
export async function serveMetrics(
  registry: Registry,
  listen: HostPort,
  collect: () => Promise<string> | string = () => '',
): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    if (path === '/healthz') {
      response.end('ok');
      return;
    }
    if (path !== '/metrics') {
      response.writeHead(404).end('not found: try /metrics\n');
      return;
    }
    Promise.all([registry.metrics(), collect()]).then(
      ([own, extra]) => {
        response.setHeader('Content-Type', registry.contentType);
        response.end(own + extra);
      },
      (error: unknown) => {
        response.writeHead(500).end(`failed to collect metrics: ${String(error)}\n`);
      },
    );
  });
  return { address: await listenOn(server, listen), [Symbol.asyncDispose]: () => closeServer(server) };
}
