import { z } from 'zod';
import { WindlassError } from '../lib/errors.ts';
import { isLoopbackHost, parseHostPort } from '../lib/host-port.ts';
import { DEFAULT_HOME } from '../lib/instance.ts';
import { quantityFlag } from '../lib/quantity-flag.ts';

const seconds = (initial: number, min: number) => z.coerce.number().int().min(min).max(31_536_000).default(initial);
const file = z.string().startsWith('/', 'want an absolute path').optional();

/** Flags of the registry. */
export const Config = z.object({
  /** Folder of the repositories and their bytes. */
  root: z.string().startsWith('/', 'want an absolute path').default(`${DEFAULT_HOME}/registry`),
  listen: z.string().default('127.0.0.1:5050'),
  metricsListen: z.string().default('127.0.0.1:0'),
  logLevel: z.string().default('info'),
  /** Certificate and key, PEM; without them plain HTTP, which only a loopback address may have. */
  tlsCert: file,
  tlsKey: file,
  /** Authority whose client certificates say who is calling. */
  clientCa: file,
  /** open = everybody may do everything, for loopback addresses alone; cluster = whom the API server lets. */
  access: z.enum(['open', 'cluster']).default('open'),
  /** The API server that is asked, with access = cluster. */
  kubeconfig: file,
  /** Everybody may pull, with access = cluster. */
  anonymousPull: z.boolean().default(false),
  /** Most bytes of the whole registry; 0 = any. */
  quota: quantityFlag('0'),
  /** Most bytes of one repository; 0 = any. */
  repositoryQuota: quantityFlag('0'),
  maxUploads: z.coerce.number().int().min(1).max(100_000).default(1_000),
  /** An upload that nobody goes on with is forgotten after this long. */
  uploadIdleSeconds: seconds(24 * 3600, 60),
  gcIntervalSeconds: seconds(3600, 1),
  /** What nothing leads to stays this long after it was last pushed or asked for. */
  gcGraceSeconds: seconds(24 * 3600, 0),
  /** Manifests without a tag go, too. */
  deleteUntagged: z.boolean().default(false),
  /** Refuse every DELETE. */
  noDelete: z.boolean().default(false),
  /** Take manifests whose config or layers have not been pushed. */
  allowSparse: z.boolean().default(false),
  /** Registry to fetch from what is not here, e.g. docker.io: this one is its cache then, and takes no pushes. */
  upstream: z.string().optional(),
  /** How long a tag that was fetched is believed before it is asked for again. */
  upstreamTagSeconds: seconds(60, 0),
  /** File with `user:password` for the upstream. */
  upstreamCredentials: file,
  /** YAML or JSON file with the mirror table, for the upstream. */
  registriesConfig: file,
});
export type Config = z.infer<typeof Config>;

/** What one flag says about another. Throws BadRequest naming both. */
export function checkConfig(config: Readonly<Config>): void {
  const fail = (message: string): never => {
    throw new WindlassError('BadRequest', message);
  };
  const isLoopback = isLoopbackHost(parseHostPort(config.listen).host);
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    fail('--tls-cert and --tls-key go together: one of them is missing');
  }
  if (config.tlsCert === undefined && !isLoopback) {
    fail(`--listen ${config.listen} needs --tls-cert and --tls-key: only loopback addresses may do without TLS`);
  }
  if (config.access === 'open' && !isLoopback) {
    fail(`--listen ${config.listen} needs --access cluster: everybody who reaches it could change everything`);
  }
  if (config.access === 'cluster' && config.kubeconfig === undefined) {
    fail('--access cluster needs --kubeconfig: the API server says who may do what');
  }
  if (config.clientCa !== undefined && config.tlsCert === undefined) fail('--client-ca needs --tls-cert and --tls-key');
  if (config.repositoryQuota > 0 && config.upstream !== undefined) {
    fail('--repository-quota does not go with --upstream: a cache has one --quota');
  }
  if (config.upstreamCredentials !== undefined && config.upstream === undefined) {
    fail('--upstream-credentials needs --upstream');
  }
}
