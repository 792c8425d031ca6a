// The API server as a value: composed here, listening elsewhere.
import type { Http2SecureServer } from 'node:http2';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import { systemClock, type Clock } from '../lib/clock.ts';
import { formatHostPort, type HostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import { createMetrics, type Registry as MetricsRegistry } from '../lib/metrics.ts';
import { runAll } from '../lib/run-all.ts';
import { createAuthenticator } from './auth/authenticate.ts';
import { createAuthorizer } from './auth/authorizer.ts';
import { createFlowControl } from './flowcontrol/flow-control.ts';
import { reviewHandlers } from './auth/reviews.ts';
import type { StaticTokens } from './auth/static-tokens.ts';
import { createGrantCheck } from './rbac/escalation.ts';
import { keepRoles } from './rbac/keep-roles.ts';
import { createRoles } from './rbac/roles.ts';
import { rbacResources } from './resources/builtin/rbac.ts';
import { installBuiltins } from './resources/builtins.ts';
import { createCustomResources } from './resources/custom-resources.ts';
import { createRegistry, type ResourceRegistry } from './resources/registry.ts';
import type { SubresourceHandler } from './resources/subresource.ts';
import type { UploadHandler } from './resources/upload.ts';
import { createSystemObjects } from './resources/system-objects.ts';
import { handleUpgrade, registerApiRoutes, type Patience } from './routes/api.ts';
import { MAX_BODY_BYTES } from './routes/body.ts';
import { createDispatcher } from './routes/dispatch.ts';
import { createRequestMetrics } from './routes/metrics.ts';
import { toStatus } from './routes/status.ts';
import { registerUpload } from './routes/upload.ts';
import { registerPlainRoutes } from './routes/plain-routes.ts';
import { createMembership, type MembershipOptions } from './servers/membership.ts';
import { registerServerRoutes } from './servers/routes.ts';
import { createEtcdClient, type EtcdTls } from './storage/etcd-client.ts';
import { createEtcdStore } from './storage/etcd-store.ts';
import { runSnapshots, type SnapshotOptions } from './storage/snapshots.ts';
import type { ResourceStore } from './storage/resource-store.ts';

export interface ApiServerOptions {
  readonly etcdServers: readonly string[];
  readonly etcdPrefix: string;
  readonly etcdTls?: EtcdTls;
  /** PEM: serving certificate and key, and the authority of client certificates. */
  readonly tls: { readonly cert: string; readonly key: string; readonly clientCa: string };
  /** Bearer tokens beside those for joining. */
  readonly staticTokens?: StaticTokens;
  /** `host:port` of etcd's own metrics, to be listed at /metrics/targets. */
  readonly etcdMetrics?: string;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly compactionIntervalMs?: number;
  readonly patience?: Patience;
  /** Copies of the store that this server takes; absent = none. */
  readonly snapshots?: SnapshotOptions;
  /** Of an etcd of its own, which other servers may join; `pki` is the folder of the keys that they are given. */
  readonly membership?: MembershipOptions & { readonly pki: string };
}

export interface ApiServer {
  readonly store: ResourceStore;
  /** Parts add views to it, e.g. v1 pods, under their own name. */
  readonly registry: ResourceRegistry;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
  readonly clock: Clock;
  addSubresource(handler: SubresourceHandler): void;
  /** Before listen(). */
  addUpload(handler: UploadHandler): void;
  /** Starts to accept connections; answers the address that really listens. */
  listen(listen: HostPort): Promise<{ readonly address: string }>;
  /** Keeps the server's memory true until `signal` fires, then stops listening. */
  run(signal: AbortSignal): Promise<void>;
}

/** How long open requests may go on once the server stops. */
const DRAIN_MS = 500;

/** Idle HTTP/1.1 connections are closed as late as fastify closes idle HTTP/2 sessions; Node alone never would. */
const KEEP_ALIVE_MS = 72_000;

/** Composes the server. Nothing is connected before listen() and run(). */
export function createApiServer(options: ApiServerOptions): ApiServer {
  const { log, clock = systemClock, snapshots, membership: own } = options;
  const metrics = createMetrics();
  const requestMetrics = createRequestMetrics(metrics);
  const client = createEtcdClient(options.etcdServers, options.etcdTls);
  const store = createEtcdStore({
    client,
    prefix: options.etcdPrefix,
    clock,
    log: log.child({ part: 'storage' }),
    observe: requestMetrics.observeEtcd,
    ...(options.compactionIntervalMs === undefined ? {} : { compactionIntervalMs: options.compactionIntervalMs }),
  });
  requestMetrics.watchStore(store);
  const registry = createRegistry();
  const roles = createRoles({ store, log: log.child({ part: 'rbac' }) });
  const authorize = createAuthorizer(roles);
  installBuiltins(registry);
  registry.set('rbac', rbacResources(createGrantCheck(roles, authorize)));
  const customResources = createCustomResources({ store, registry, clock, log });
  const systemObjects = createSystemObjects({ store, clock, log });
  const isLoaded = (): boolean => customResources.isLoaded() && roles.isLoaded();
  const isServing = createServingCheck(registry, isLoaded, systemObjects.definitionNames);
  const deps = { store, registry, clock, log, authorize, isServing, countWatchEvents: requestMetrics.countWatchEvents };
  const dispatcher = createDispatcher(deps);
  const authenticator = createAuthenticator({ store, clock, staticTokens: options.staticTokens });
  const reviews = reviewHandlers({ identifyToken: authenticator.identifyToken, authorize, grantsOf: roles.grantsOf });
  for (const handler of reviews) dispatcher.addSubresource(handler);
  const membership = own && createMembership({ client, clock, log }, own);
  const stopping = new AbortController();
  let address = '';

  const app = createApp(options.tls);
  const api = {
    authenticator,
    authorize,
    dispatcher,
    metrics: requestMetrics,
    flowControl: createFlowControl(metrics),
    log,
    clock,
    stopping: stopping.signal,
    patience: options.patience,
  };
  registerApiRoutes(app as unknown as FastifyInstance, api);
  registerPlainRoutes(app as unknown as FastifyInstance, {
    ...deps,
    metrics,
    isStopping: () => stopping.signal.aborted,
    authority: options.tls.clientCa,
    ownAddress: () => address,
    etcdMetrics: options.etcdMetrics,
    patience: options.patience,
  });
  registerServerRoutes(app as unknown as FastifyInstance, {
    ...{ log, authorize, patience: options.patience },
    joining: own && membership && { store, membership, pki: own.pki, peerUrl: own.peerUrl, log },
  });
  app.server.on('upgrade', (message: IncomingMessage, socket: Duplex, head: Buffer) => {
    handleUpgrade(api, message, socket, head).catch((error: unknown) => log.error({ err: error }, 'upgrade failed'));
  });
  Object.assign(app.server, { keepAliveTimeout: KEEP_ALIVE_MS });
  const connections = trackConnections(app.server, log);

  return {
    store,
    registry,
    metrics,
    log,
    clock,
    addSubresource: dispatcher.addSubresource,
    addUpload: (handler) => registerUpload(app as unknown as FastifyInstance, api, handler),
    async listen({ host, port }) {
      await app.listen({ host, port });
      address = formatHostPort({ host, port: (app.server.address() as AddressInfo).port });
      return { address };
    },
    async run(signal) {
      try {
        await runAll(
          [
            { name: 'storage', run: store.run },
            { name: 'custom-resources', run: customResources.run },
            { name: 'system-objects', run: systemObjects.run },
            { name: 'rbac', run: roles.run },
            { name: 'default roles', run: (stop: AbortSignal) => keepRoles({ store, roles, clock, log }, stop) },
            authenticator,
            ...(membership ? [{ name: 'membership', run: membership.run }] : []),
            ...(snapshots
              ? [
                  {
                    name: 'snapshots',
                    run: (stop: AbortSignal) => runSnapshots({ client, clock, log }, snapshots, stop),
                  },
                ]
              : []),
          ],
          signal,
        );
      } finally {
        stopping.abort();
        const timer = setTimeout(connections.destroyAll, DRAIN_MS);
        connections.closeSessions();
        await app.close();
        clearTimeout(timer);
        client.close();
      }
    },
  };
}

/** True from the first moment on in which everything stored at start and every kind of ours is served. */
function createServingCheck(
  registry: ResourceRegistry,
  isLoaded: () => boolean,
  definitionNames: readonly string[],
): () => boolean {
  let isServing = false;
  return () => {
    if (isServing || !isLoaded()) return isServing;
    const served = new Set(registry.all().map(({ plural, group }) => `${plural}.${group}`));
    return (isServing = definitionNames.every((name) => served.has(name)));
  };
}

function createApp(tls: ApiServerOptions['tls']) {
  return fastify({
    http2: true,
    https: {
      allowHTTP1: true,
      // Only HTTP/2 turns this on by itself: an event of a watch over HTTP/1.1 would wait until the one before is acknowledged.
      noDelay: true,
      cert: tls.cert,
      key: tls.key,
      ca: tls.clientCa,
      requestCert: true,
      // Anonymous callers may ask for health and version; everything else needs a certificate of the authority.
      rejectUnauthorized: false,
      settings: { maxConcurrentStreams: 1_000 },
    },
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    frameworkErrors: (error, _request, reply) => {
      reply.hijack();
      const status = toStatus(error);
      reply.raw.writeHead(status.code, { 'Content-Type': 'application/json' }).end(JSON.stringify(status));
    },
    routerOptions: { ignoreTrailingSlash: true },
  });
}

/** Open connections, so that stopping does not wait for clients that never leave. */
function trackConnections(server: Http2SecureServer, log: Logger) {
  const sessions = new Set<{ close(): void }>();
  const sockets = new Set<Socket>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', (error) => log.debug({ err: error }, 'HTTP/2 session failed'));
  });
  // Those too that never begin a handshake: they would hold up the stop as long as the others.
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return {
    closeSessions: () => {
      for (const session of sessions) session.close();
    },
    destroyAll: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}
