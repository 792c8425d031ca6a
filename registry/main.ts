// The registry: OCI distribution 1.1 over a content store of its own.
import { mkdirSync } from 'node:fs';
import { systemClock as clock } from '../lib/clock.ts';
import { loadConfig } from '../lib/config.ts';
import { messageOf, reasonOf } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { createLogger } from '../lib/log.ts';
import { createMetrics, serveMetrics } from '../lib/metrics.ts';
import { runAll } from '../lib/run-all.ts';
import { openContentStore } from '../oci/content-store.ts';
import { openAccessFor } from './access/open-access-for.ts';
import { checkConfig, Config } from './config.ts';
import { createCacheLimit } from './store/cache-limit.ts';
import { createRegistryMetrics } from './registry-metrics.ts';
import { startRegistryServer } from './server.ts';
import { claimFolder } from './store/claim-folder.ts';
import { garbageCollector } from './store/collect-garbage.ts';
import { openRegistryStore } from './store/registry-store.ts';
import { openUploads } from './store/uploads.ts';
import { readTls } from './tls-files.ts';
import { openUpstream } from './upstream/open-upstream.ts';

const config = readConfig();
const log = createLogger('registry', config.logLevel);
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  });
}

try {
  mkdirSync(config.root, { recursive: true, mode: 0o700 });
  using _claim = claimFolder(config.root);
  const store = openRegistryStore(openContentStore(config.root), { clock, log });
  const limits = { maxUploads: config.maxUploads, idleMs: config.uploadIdleSeconds * 1000 };
  const uploads = openUploads(store, { clock, log, limits });
  const prometheus = createMetrics();
  const metrics = createRegistryMetrics(prometheus, store, uploads);
  await using metricsServer = await serveMetrics(prometheus, parseHostPort(config.metricsListen));
  await using access = openAccessFor(config, {
    ...{ clock, log, registry: prometheus },
    metricsAddress: metricsServer.address,
  });
  const shrink = createCacheLimit({ store, log }, config.upstream === undefined ? 0 : config.quota);
  await using upstream = openUpstream(config, { store, clock, log, onFetched: shrink });
  const rules = {
    allowSparse: config.allowSparse,
    allowDelete: !config.noDelete,
    maxBytes: upstream ? 0 : config.quota,
    maxRepositoryBytes: config.repositoryQuota,
  };
  await using server = await startRegistryServer({
    listen: parseHostPort(config.listen),
    tls: readTls(config),
    access: access.access,
    answerToken: access.answerToken,
    deps: { store, uploads, upstream: upstream?.upstream, rules },
    metrics,
    log,
  });
  log.info({ config, address: server.address, metricsAddress: metricsServer.address }, 'serving');
  const garbageRules = {
    graceMs: config.gcGraceSeconds * 1000,
    intervalMs: config.gcIntervalSeconds * 1000,
    deleteUntagged: config.deleteUntagged,
    // A cache that is full forgets; a registry that is full refuses.
    cacheBytes: upstream ? config.quota : 0,
  };
  const deps = { store, uploads, clock, log, onCollected: metrics.collected };
  await runAll([garbageCollector(deps, garbageRules), ...access.parts], stop.signal);
  log.info('stopped');
} catch (error) {
  if (reasonOf(error) === 'BadRequest') failUsage(error);
  log.fatal({ err: error }, `cannot run: ${messageOf(error)}`);
  process.exitCode = 1;
}

/** The flags, or the end of the process with what is wrong with them. */
function readConfig(): Readonly<Config> {
  try {
    const { config: read } = loadConfig(Config, { argv: process.argv.slice(2), env: process.env });
    checkConfig(read);
    return read;
  } catch (error) {
    return failUsage(error);
  }
}

/** A flag is wrong, or what it names: one line for whoever typed it. */
function failUsage(error: unknown): never {
  process.stderr.write(`windlass registry: ${messageOf(error)}\n`);
  process.exit(2);
}
