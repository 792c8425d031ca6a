// The node agent as a value: every part of it, composed by hand.
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createApiClient } from '../../client/api-client.ts';
import { createEventRecorder } from '../../client/events.ts';
import { createInformerMetrics } from '../../client/informer-metrics.ts';
import { createInformerSet } from '../../client/informer-set.ts';
import type { Connection } from '../../client/kubeconfig.ts';
import { createLeaseRenewer, metricsLease, NODE_LEASE_NAMESPACE } from '../../client/lease.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { imageKind } from '../../crds/image.ts';
import { networkKind, type Network } from '../../crds/network.ts';
import { serviceKind } from '../../crds/service.ts';
import { volumeKind, type Volume } from '../../crds/volume.ts';
import type { KindName, KubernetesObject } from '../../crds/kind.ts';
import type { Clock } from '../../lib/clock.ts';
import type { DiskReserve } from '../../lib/disk-reserve.ts';
import { formatHostPort, type HostPort } from '../../lib/host-port.ts';
import { readHostRoutes, readIpv6HostRoutes } from '../../lib/host-routes.ts';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import { createLimit } from '../../lib/limit.ts';
import type { Logger } from '../../lib/log.ts';
import { serveMetrics, type Registry } from '../../lib/metrics.ts';
import { runAll } from '../../lib/run-all.ts';
import { readVersion } from '../../lib/version.ts';
import { HOST_ROUTES_ANNOTATION, keyOf, splitKey } from '../runtime/object-key.ts';
import { portConflictsAnnotation, type PortConflicts } from '../runtime/port-conflicts.ts';
import { createLoopMetrics } from '../runtime/queue-metrics.ts';
import { archivePath, findArchiveBlob } from './archives/archives.ts';
import { fetchArchive } from './archives/fetch-archive.ts';
import { prepareUploads } from './archives/receive-archive.ts';
import { createImageBuilder } from './builds/image-builder.ts';
import { cleanUpContainer } from './clean-up.ts';
import { createContainerController, HOST_STEPS } from './container/controller.ts';
import { createMemoryStore } from './container/memory.ts';
import { createOrphanRemoval } from './container/orphan-removal.ts';
import { createPredecessors } from './container/predecessors.ts';
import { prepare, targetKeyOf, type PrepareDeps } from './container/prepare.ts';
import { createContainerReconciler } from './container/reconcile.ts';
import { createHealthMonitor } from './health/health-monitor.ts';
import { createImageLookUp } from './images/image-look-up.ts';
import { createImagePuller, describePull } from './images/image-puller.ts';
import { createImagePusher } from './images/image-pusher.ts';
import { prepareImage } from './images/prepare-image.ts';
import { createLateQueue } from './late-queue.ts';
import { createLogRotator } from './logs/log-rotator.ts';
import { createServiceTablesReconciler } from './networks/service-tables-controller.ts';
import { createNodeNetworks } from './networks/node-networks.ts';
import { createCertificateRenewer } from './node/certificate-renewer.ts';
import { createNodeMetrics } from './node/node-metrics.ts';
import { createNodeRegistrar } from './node/node-registrar.ts';
import { diskProblem, readNodeFacts } from './node/read-facts.ts';
import { createServerList } from './node/server-list.ts';
import { createRuntimeFacts } from './node/runtime-facts.ts';
import { createShimLease } from './node/shim-lease.ts';
import { createObjectControllers } from './object-controllers.ts';
import { createPeers } from './peers/create-peers.ts';
import { createRuntimeFollower } from './runtime/follow-runtime.ts';
import type { NodeRuntime } from './runtime/node-runtime.ts';
import { createRuntimeCache } from './runtime/runtime-cache.ts';
import { createAgentServer, type AgentAddress } from './server/agent-server.ts';
import { createStrayController } from './stray-controller.ts';
import { createUsageSampler } from './usage/usage-sampler.ts';
import { openUserRanges } from './users/user-ranges.ts';
import { createProjectedRefresher } from './volumes/projected-refresher.ts';
import { watchCluster } from './watch-cluster.ts';

export interface AgentOptions {
  readonly instance: Instance;
  readonly nodeName: string;
  readonly diskReserve: DiskReserve;
  readonly connection: Connection;
  readonly runtime: NodeRuntime;
  /** How other machines reach this one; none = where it listens. */
  readonly nodeIps: readonly string[];
  /** Of its Lease: how long it may be silent before it counts as dead. */
  readonly leaseSeconds: number;
  readonly listen: AgentAddress;
  readonly metricsListen: HostPort;
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string };
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The API that the agent speaks; kubectl shows it as the node's version. */
const KUBERNETES_VERSION = 'v1.32.0';

/** Runs the agent until `signal` fires. */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, nodeName, instance, runtime, registry } = options;
  const client = createApiClient(options.connection, { userAgent: 'windlass-node-agent', registry });
  const informers = createInformerSet({ client, log, clock, metrics: createInformerMetrics(registry) });
  const { watched, cluster, companions, hasTables, ownNode } = watchCluster(
    { client, nodeName, clock, log },
    informers,
  );
  const events = createEventRecorder({ client, component: 'node-agent', host: nodeName, clock, log });
  const recorder =
    <T extends KubernetesObject>(kind: KindName) =>
    (object: T, type: 'Normal' | 'Warning', reason: string, message: string): void =>
      events.record({ kind, metadata: object.metadata }, type, reason, message);

  const record = recorder(containerKind);

  const cache = createRuntimeCache(runtime);
  const podLogs = paths.podLogs(instance);
  const roots = { volumes: paths.volumes(instance), projected: join(instance.run, 'agent', 'projected') };
  // ConfigMaps and Secrets have the modes that containers want: the folder keeps others of this machine out.
  mkdirSync(dirname(roots.projected), { recursive: true, mode: 0o700 });
  chmodSync(dirname(roots.projected), 0o700);
  const userRanges = openUserRanges(join(instance.home, 'agent', 'user-ranges.json'));
  const queue = createLateQueue();
  const queues = { networks: createLateQueue(), tables: createLateQueue() };
  const own = (): Container[] => cluster.containers.list().filter(({ spec }) => spec.nodeName === nodeName);

  const networks = createNodeNetworks(cluster.networks, runtime, nodeName);
  const content = paths.content(instance);
  const archives = { archives: cluster.archives, runtime, nodeName };
  const peers = createPeers({
    ...options,
    client,
    findArchiveBlob: (digest) => findArchiveBlob(archives, content, digest),
  });
  await peers.listen();
  const puller = createImagePuller(runtime, clock, signal, peers.socketPath);
  const memory = createMemoryStore();
  const predecessors = createPredecessors({
    containers: watched.containers,
    cache,
    nodeName,
    ownUids: () => new Set(own().map(({ metadata }) => metadata.uid ?? '')),
    now: () => clock.now(),
    onGone: () => strays.look(),
  });
  const health = createHealthMonitor({ runtime, clock, log, onChange: queue.add }, signal);
  const store = { lister: cluster.volumes, client: client.kind<Volume>(volumeKind), roots, nodeName };
  const imageDeps = { cluster, runtime, puller, nodeName, lookUp: createImageLookUp(runtime, clock) };
  const imageOf: PrepareDeps['prepareImage'] = (container, options) =>
    prepareImage(imageDeps, container, {
      ...options,
      sinceMs: memory.of(container.metadata.uid ?? '').startIntentMs ?? clock.now(),
      onPullEnd: (reference, end) => {
        if (end.state === 'Done') record(container, 'Normal', 'Pulled', `pulled ${reference} ${describePull(end)}`);
        queue.add(keyOf(container));
      },
    });
  const mounts = {
    cluster,
    runtime,
    store,
    prepareImageMount: (container: Container, reference: string) =>
      imageOf(
        { ...container, spec: { ...container.spec, image: reference, imageName: undefined } },
        { kept: undefined, signal },
      ),
  };
  let portConflicts: PortConflicts = new Map();
  const tables = createServiceTablesReconciler({
    cluster,
    runtime,
    networks,
    nodeName,
    clock,
    log,
    isSynced: hasTables,
    recordConflict: (id, message) => {
      const service = cluster.services.list().find((one) => keyOf(one) === id);
      if (service) recorder(serviceKind)(service, 'Warning', 'PortConflict', message);
    },
    onConflicts(conflicts) {
      portConflicts = conflicts;
      registrar.look();
    },
  });

  const buildLogs = paths.buildLogs(instance);
  const builder = createImageBuilder({ runtime, logs: buildLogs, clock }, signal);
  const uploads = paths.uploads(instance);
  prepareUploads(uploads);
  const agentServer = createAgentServer({
    tls: options.tls,
    log,
    containers: cluster.containers,
    cache,
    runtime,
    podLogs,
    images: cluster.images,
    builder,
    buildLogs,
    archives: {
      ...{ runtime, nodeName, uploads },
      diskProblem: () => diskProblem(instance.home, options.diskReserve),
    },
    ...peers.served,
    usage: createUsageSampler({ runtime, cache, clock }),
  });
  const agentPort = await agentServer.listen(options.listen);
  const facts = await readNodeFacts({
    name: nodeName,
    agentPort,
    agentVersion: `${KUBERNETES_VERSION}+windlass-${readVersion()}`,
    home: instance.home,
    listenHost: options.listen.host,
    nodeIps: options.nodeIps,
  });
  const metrics = createNodeMetrics(registry, {
    runtime,
    cache,
    nodeName,
    cpus: facts.cpus,
    memoryBytes: facts.memoryBytes,
  });
  const metricsServer = await serveMetrics(registry, options.metricsListen, metrics.collectContainers);
  log.info(
    { agent: formatHostPort({ host: options.listen.host, port: agentPort }), metrics: metricsServer.address },
    'listening',
  );

  const hostIp = facts.addresses[0] ?? '127.0.0.1';
  const prepareDeps = { cluster, cache, networks, mounts, nodeName, hostIp, prepareImage: imageOf };
  const cleanUpDeps = { volumes: client.kind<Volume>(volumeKind), roots, podLogs, userRanges };
  const reconcileContainer = createContainerReconciler({
    cluster,
    client: client.kind<Container>(containerKind),
    runtime,
    cache,
    clock,
    log,
    podLogs,
    userRanges,
    record,
    nodeName,
    hostIp,
    memory,
    health,
    predecessors,
    limit: createLimit(HOST_STEPS),
    targetKeyOf: (container) => targetKeyOf({ cluster, cache }, container),
    prepare: (container, asked) => prepare(prepareDeps, container, asked),
    admit: (container, stop) => tables.admit(container, { signal: stop, log }),
    retire: (container, stop) => tables.retire(container, { signal: stop, log }),
    newest: (container) => {
      const cached = cluster.containers.get(container.metadata.namespace ?? '', container.metadata.name);
      return cached?.metadata.uid === container.metadata.uid ? (cached ?? container) : container;
    },
    cleanUp: (container, stop) => cleanUpContainer(cleanUpDeps, container, stop),
    observeStart: metrics.observeStart,
  });

  const networkDeps = { cluster, client: client.kind<Network>(networkKind), runtime, networks, nodeName };
  const registrar = createNodeRegistrar({
    client: client.kind<Node>(nodeKind),
    facts,
    watched: ownNode,
    // Networks are given ranges that clash with none of these.
    annotations: () => ({
      ...portConflictsAnnotation(portConflicts),
      ...runtimeFacts.annotations(),
      [HOST_ROUTES_ANNOTATION]: [
        ...new Set(
          [readHostRoutes, readIpv6HostRoutes]
            .flatMap((read) => read(kernelNames.linkPrefix(instance)))
            .map(({ cidr }) => cidr),
        ),
      ].join(','),
    }),
    diskProblem: () => diskProblem(instance.home, options.diskReserve),
    clock,
    log,
  });
  const runtimeFacts = createRuntimeFacts({ runtime, clock, log, onChange: () => registrar.look() });
  const shimLease = createShimLease({ client, clock, log, nodeName });
  const loop = { clock, log, metrics: createLoopMetrics(registry), synced: informers.synced };
  const strays = createStrayController(loop, {
    ...{ watched, cluster, runtime, cache, nodeName },
    orphans: createOrphanRemoval({
      ...{ runtime, cache, predecessors, registry, log },
      tell: (type, reason, message) => {
        const node = ownNode();
        if (node) recorder(nodeKind)(node, type, reason, message);
        return node !== undefined;
      },
    }),
    cleanUp: cleanUpDeps,
    networks: networkDeps,
    onLook: (uids) => {
      memory.retain(uids);
      health.retain(uids);
    },
  });
  const follower = createRuntimeFollower({
    runtime,
    cache,
    clock,
    log,
    onHealth: (problem) => registrar.setProblem(problem),
    onChange: (sandboxes) => {
      for (const sandbox of sandboxes) queue.add(`${sandbox.namespace}/${sandbox.name}`);
    },
    onConnect: ({ name, version }) => {
      registrar.setRuntime(`${name}://${version}`);
      networks.forget();
      tables.forget();
      shimLease.refresh(async () => {
        const { metricsAddress } = await runtimeFacts.read();
        return metricsAddress;
      });
      for (const container of own()) queue.add(keyOf(container));
      for (const network of cluster.networks.list()) queues.networks.add(keyOf(network));
      queues.tables.add('tables');
      strays.connected();
    },
  });
  try {
    await runAll(
      [
        informers,
        companions,
        events,
        follower,
        registrar,
        shimLease,
        runtimeFacts,
        createServerList({ client, home: instance.home, clock, log }),
        { name: 'agent server', run: agentServer.run },
        createCertificateRenewer({
          ...{ client, nodeName, clock, log, folder: paths.pki(instance), cert: options.connection.cert },
          setServing: agentServer.setCertificate,
          onClient: peers.setCredentials,
        }),
        peers.part,
        createLeaseRenewer(
          { client, clock, log },
          {
            namespace: NODE_LEASE_NAMESPACE,
            name: nodeName,
            holderIdentity: nodeName,
            leaseDurationSeconds: options.leaseSeconds,
          },
          // While it was cut off it may have been marked as dead, and what it ran given away.
          (failedAtMs) => {
            informers.reconnect(failedAtMs);
            companions.reconnect(failedAtMs);
            registrar.look();
            strays.look();
          },
        ),
        createLeaseRenewer({ client, clock, log }, metricsLease('node-agent', metricsServer.address, nodeName)),
        strays.part,
        createContainerController(loop, {
          reconcile: async (key, stop) => {
            await strays.firstLook(stop.signal);
            const { namespace = '', name } = splitKey(key);
            const container = cluster.containers.get(namespace, name);
            if (container) await companions.known(container, stop.signal);
            return reconcileContainer(key, stop);
          },
          watches: watched,
          nodeName,
          onQueue: queue.attach,
        }),
        ...createObjectControllers(loop, {
          ...{ client, watched, cluster, runtime, cache, nodeName, roots, puller, networkDeps, tables, queues },
          firstLook: strays.firstLook,
          pusher: createImagePusher(runtime, clock, signal),
          recordImage: recorder(imageKind),
          builds: {
            ...{ builder, buildLogs, networks },
            fetchArchive: (...asked) => fetchArchive({ ...archives, peers, uploads, content }, ...asked),
            archivePath: (digest) => archivePath(content, digest),
            ownNode,
          },
        }),
        createLogRotator({ containers: own, cache, runtime, podLogs, clock, log }),
        createProjectedRefresher({
          cluster,
          store,
          running: () => own().filter(({ status }) => status?.phase === 'Running'),
          clock,
          log,
        }),
      ],
      signal,
    );
  } finally {
    await metricsServer[Symbol.asyncDispose]();
    await client.close();
  }
}
