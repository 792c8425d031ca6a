// The runtime shim: CRI v1 and the node service on <run>/cri.sock.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCriServer } from '../cri/server.ts';
import { loadConfig } from '../lib/config.ts';
import { messageOf } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { describeInstance, paths } from '../lib/instance.ts';
import { createLogger } from '../lib/log.ts';
import { createMetrics, serveMetrics } from '../lib/metrics.ts';
import { parseYaml } from '../lib/parse-yaml.ts';
import { runAll } from '../lib/run-all.ts';
import { parseRegistriesConfig } from '../oci/distribution/registries.ts';
import { Config, storageRules } from './config.ts';
import { createLazyBuilder } from './images/lazy-builder.ts';
import { openImages } from './images/open-images.ts';
import { listenOnSocket } from './listen.ts';
import { giveBackMemory } from './host/give-back-memory.ts';
import { createSpawner } from './host/spawn.ts';
import { openBuildNetwork } from './network/build-network.ts';
import { createNodeNetwork } from './network/create-node-network.ts';
import { chooseOciRuntime } from './oci-runtime/choose-runtime.ts';
import { tryRights } from './oci-runtime/try-rights.ts';
import { openShim, watchExits } from './open-shim.ts';
import type { Shim } from './rpc/deps.ts';
import { createHandlers } from './rpc/handlers.ts';
import { recoverShim } from './rpc/recover.ts';
import { watchMounts } from './rpc/repair-mounts.ts';
import { createRest } from './rest.ts';
import { createShimMetrics } from './shim-metrics.ts';
import { acquireLock } from './store/lock.ts';
import { watchLayers } from './storage/watch-layers.ts';
import { createAttachments } from './streaming/attachments.ts';
import { serveConnection } from './streaming/serve-connection.ts';
import { startStreamingServer } from './streaming/server.ts';

const { config } = loadConfig(Config, { argv: process.argv.slice(2), env: process.env });
const log = createLogger('runtime-shim', config.logLevel);
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  });
}
// Files that a container's user must read are made with the modes they are given.
process.umask(0o022);

try {
  const instance = describeInstance(config.home, config.run);
  // Others may pass through, as root of a user namespace must, but never list.
  for (const folder of [instance.home, instance.run, paths.shimState(instance)]) {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
  }
  using _runLock = acquireLock(join(instance.run, 'shim.lock'));
  using _homeLock = acquireLock(join(instance.home, 'shim.lock'));
  const registry = createMetrics();
  const metrics = createShimMetrics(registry);
  await using metricsServer = await serveMetrics(registry, parseHostPort(config.metricsListen));
  log.info({ config, metricsAddress: metricsServer.address }, 'starting');

  const registries = parseRegistriesConfig(
    config.registriesConfig === undefined ? {} : parseYaml(readFileSync(config.registriesConfig, 'utf8')),
  );
  await using images = openImages(instance, registries, config.pinnedImages, {
    log: log.child({ part: 'images' }),
    onReceived: metrics.observeReceived,
  });
  const network = createNodeNetwork({ instance, log: log.child({ part: 'network' }) });
  const attachments = createAttachments();
  await using streaming = await startStreamingServer((connection, target) => {
    serveConnection({ shim, attachments }, connection, target);
  });
  const spawner = createSpawner();
  const ociRuntime = await chooseOciRuntime(config.ociRuntime, { instance, spawner, log });
  const shim: Shim = openShim({
    instance,
    log,
    rights: await tryRights({ instance, spawner, log, ociRuntime }),
    images: images.service,
    network,
    podCidr: config.podCidr,
    sandboxPool: config.sandboxPool,
    storage: storageRules(config),
    spawner,
    ociRuntime,
    metricsAddress: metricsServer.address,
    openStreamUrl: (target) => streaming.openUrl(target),
  });
  using _execShell = shim.execShell;
  metrics.watch(shim);
  await using build = createLazyBuilder({
    wasUsed: existsSync(paths.builder(instance)),
    async open() {
      const { openNodeBuilder } = await import('../builder/open-node-builder.ts');
      return openNodeBuilder({
        ...shim,
        images: images.service,
        content: images.parts,
        log: log.child({ part: 'builder' }),
        openNetwork: (place) => openBuildNetwork(shim, place),
        maxCacheBytes: config.buildCacheSize,
        registry,
      });
    },
  });
  await build.builder.recover();
  await images.service.recover();
  await network.recover();
  await recoverShim(shim);

  const rest = createRest(giveBackMemory, log);
  const server = createCriServer(createHandlers(shim, build.builder), {
    onCall(method, seconds, code, error) {
      metrics.observeCall(method, seconds, code);
      rest.noteCall(method);
      if (code === 'INTERNAL' || code === 'UNKNOWN') log.error({ method, err: error }, 'call failed');
      else if (error !== undefined) log.debug({ method, code, error: messageOf(error) }, 'call refused');
    },
  });
  await using _listener = await listenOnSocket(server, paths.criSocket(instance));
  log.info({ socket: paths.criSocket(instance), ociRuntime: shim.runtime.program }, 'serving');
  await runAll(
    [
      watchExits(shim),
      watchMounts(shim),
      watchLayers(shim, build.builder),
      shim.pool.part,
      rest.part,
      { name: 'network', run: (signal) => network.run(signal) },
    ],
    stop.signal,
  );
  log.info('stopped');
} catch (error) {
  log.fatal({ err: error }, `cannot run: ${messageOf(error)}`);
  process.exitCode = 1;
}
