// Paths that are no resources: health, version, metrics, discovery, OpenAPI.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { WindlassError } from '../../lib/errors.ts';
import type { Registry as MetricsRegistry } from '../../lib/metrics.ts';
import type { Authorize } from '../auth/authorizer.ts';
import { PUBLIC_ROUTE, requireUser, send, type Patience } from './api.ts';
import { notServedYet } from './api-errors.ts';
import { jsonAnswer, type Answer, type ApiDeps } from './call.ts';
import { createDiscovery } from './discovery.ts';
import { metricsTargets } from './metrics-targets.ts';
import { renderHealth, type HealthCheck } from './health.ts';
import { VERSION } from './version.ts';

export interface PlainRouteOptions extends ApiDeps {
  readonly metrics: MetricsRegistry;
  readonly isStopping: () => boolean;
  /** PEM of the authority, which a machine that joins compares with the hash it was told. */
  readonly authority: string;
  readonly ownAddress: () => string;
  readonly etcdMetrics: string | undefined;
  readonly patience?: Patience | undefined;
}

/** Registers the routes. */
export function registerPlainRoutes(app: FastifyInstance, options: PlainRouteOptions): void {
  const { store } = options;
  const get = (url: string, answer: (request: FastifyRequest) => Promise<Answer> | Answer, isPublic = false): void => {
    app.get(url, { config: isPublic ? PUBLIC_ROUTE : {} }, async (request: FastifyRequest, reply: FastifyReply) => {
      if (!isPublic) checkPath(options.authorize, request);
      await send(options, request, reply, await answer(request));
    });
  };

  const ping: HealthCheck = { name: 'ping', check: async () => undefined };
  const etcd: HealthCheck = { name: 'etcd', check: () => store.ping() };
  const loaded: HealthCheck = {
    name: 'cache-loaded',
    check: async () => {
      if (!store.isReady()) throw new Error('the store is not loaded into memory yet');
    },
  };
  const crds: HealthCheck = {
    name: 'crds-served',
    check: async () => {
      if (!options.isServing()) throw new Error('the custom resources are not served yet');
    },
  };
  const shutdown: HealthCheck = {
    name: 'shutdown',
    check: async () => {
      if (options.isStopping()) throw new Error('the server is stopping');
    },
  };
  const suites: Readonly<Record<string, readonly HealthCheck[]>> = {
    // A server that waits for etcd is alive: killing it would not bring etcd back.
    livez: [ping],
    readyz: [ping, etcd, loaded, crds, shutdown],
    healthz: [ping, etcd, loaded],
  };
  for (const [name, checks] of Object.entries(suites)) {
    const render = (request: FastifyRequest): Promise<Answer> => renderHealth(name, checks, request.url);
    get(`/${name}`, render, true);
    get(`/${name}/*`, render, true);
  }
  get('/version', () => jsonAnswer(200, VERSION), true);
  get('/ca.crt', () => ({ status: 200, contentType: 'application/x-pem-file', body: options.authority }), true);
  get('/metrics', async () => ({
    status: 200,
    contentType: options.metrics.contentType,
    body: await options.metrics.metrics(),
  }));
  get('/metrics/targets', async () => jsonAnswer(200, await metricsTargets(options)));

  const discovery = createDiscovery(options.registry, options.ownAddress);
  const groups = ['/api', '/apis', '/api/:version', '/apis/:group', '/apis/:group/:version'];
  for (const url of [...groups, '/openapi/v2', '/openapi/v3', '/openapi/v3/*', '/swagger.json']) {
    get(url, (request) => {
      // kubectl keeps what it is told here for hours: half of it would be worse than nothing.
      if (!options.isServing()) throw notServedYet();
      return discovery.answer(request.url, request.headers);
    });
  }
  get('/', () =>
    jsonAnswer(200, {
      paths: [
        '/api',
        '/api/v1',
        '/apis',
        '/healthz',
        '/livez',
        '/metrics',
        '/metrics/targets',
        '/openapi/v2',
        '/openapi/v3',
        '/readyz',
        '/version',
      ],
    }),
  );
}

function checkPath(authorize: Authorize, request: FastifyRequest): void {
  const user = requireUser(request);
  const path = request.url.split('?')[0] as string;
  const attributes = {
    verb: 'get',
    group: '',
    version: '',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
    path,
  };
  if (authorize(user, attributes).allowed) return;
  throw new WindlassError('Forbidden', `forbidden: User "${user.name}" cannot get path "${path}"`);
}
