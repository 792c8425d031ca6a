// The controllers process: all cluster reconcilers, run by whichever instance of it holds the lease.
import { hostname } from 'node:os';
import { createApiClient } from '../client/api-client.ts';
import { createEventRecorder } from '../client/events.ts';
import { createInformerMetrics } from '../client/informer-metrics.ts';
import { createInformerSet } from '../client/informer-set.ts';
import { readKubeconfig } from '../client/kubeconfig.ts';
import { runAsLeader } from '../client/leader-election.ts';
import { createLeaseRenewer, metricsLease, SYSTEM_NAMESPACE } from '../client/lease.ts';
import { systemClock as clock } from '../lib/clock.ts';
import { loadConfig } from '../lib/config.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { createLogger } from '../lib/log.ts';
import { createMetrics, serveMetrics } from '../lib/metrics.ts';
import { runAll } from '../lib/run-all.ts';
import { createSigningController, readSigningOptions, watchSigning } from './certificates/controller.ts';
import { Config, optionsOf } from './config.ts';
import { composeControllers, watchKinds } from './compose.ts';
import { ensureNamespace } from './ensure-namespace.ts';
import { processIdentity, releaseDeadHolder } from './predecessor.ts';
import { createEvents } from './runtime/events.ts';
import { createLoopMetrics } from './runtime/queue-metrics.ts';

const LEASE = 'windlass-controllers';
const HEARTBEAT_SECONDS = 40;

const { config } = loadConfig(Config, { argv: process.argv.slice(2), env: process.env });

const log = createLogger('controllers', config.logLevel);
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  });
}

const registry = createMetrics();
const metrics = createLoopMetrics(registry);
metrics.leader(LEASE, false);
await using server = await serveMetrics(registry, parseHostPort(config.metricsListen));
log.info({ config, metricsAddress: server.address }, 'starting');

const client = createApiClient(readKubeconfig(config.kubeconfig), {
  ...{ userAgent: 'windlass-controllers', registry },
  // One process speaks for all of the cluster.
  maxConnections: 32,
});
const informers = createInformerSet({ client, log, clock, metrics: createInformerMetrics(registry) });
const recorder = createEventRecorder({ client, component: LEASE, clock, log });
const loop = { clock, log, metrics, synced: informers.synced };
const deps = { ...loop, client, events: createEvents(recorder), caches: watchKinds(informers) };
const signing = readSigningOptions(config);
const parts = composeControllers(deps, registry, optionsOf(config));
if (signing) parts.push(createSigningController(deps, watchSigning(informers), signing));

const leaseDurationMs = config.leaseDurationSeconds * 1000;
const election = {
  client,
  clock,
  log,
  identity: processIdentity(),
  namespace: SYSTEM_NAMESPACE,
  name: LEASE,
  leaseDurationMs,
  renewDeadlineMs: Math.floor((leaseDurationMs * 2) / 3),
  retryMs: Math.min(2_000, leaseDurationMs / 5),
};
try {
  await ensureNamespace({ client, clock, log }, SYSTEM_NAMESPACE, stop.signal);
  await releaseDeadHolder({ client, log }, election, stop.signal);
  const lead = async (signal: AbortSignal): Promise<void> => {
    metrics.leader(LEASE, true);
    await runAll(parts, signal).finally(() => metrics.leader(LEASE, false));
  };
  const leader = { name: 'leader', run: (signal: AbortSignal) => runAsLeader(election, lead, signal) };
  const heartbeat = createLeaseRenewer(
    { client, clock, log },
    // By its renewals it is also seen that another server has to be watched.
    metricsLease('controllers', server.address, hostname(), HEARTBEAT_SECONDS),
    (failedAtMs) => informers.reconnect(failedAtMs),
  );
  await runAll([informers, recorder, heartbeat, leader], stop.signal);
} catch (err) {
  log.fatal({ err }, 'stopped by a failure');
  process.exitCode = 1;
}
await client.close();
