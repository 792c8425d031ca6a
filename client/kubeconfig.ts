// The parts of a kubeconfig file that windlass' own clients use. exec plugins and auth providers are refused by name.
// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { WindlassError } from '../lib/errors.ts';

/** Where the API server is and how to identify to it. PEM texts, not paths. */
export interface Connection {
  /** `https://host:port`, without a slash at the end. */
  readonly server: string;
  /** Further API servers of the cluster, which are tried when that one cannot be reached. */
  readonly otherServers?: readonly string[];
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
  /** Name to expect in the server's certificate instead of the URL's host. */
  readonly serverName?: string;
  readonly skipTlsVerify?: boolean;
  /** Namespace of the context, for commands that are given none. */
  readonly namespace: string;
}

const text = z.string().optional();

const Cluster = z.object({
  server: z.url({ protocol: /^https?$/ }),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'tls-server-name': text,
  'insecure-skip-tls-verify': z.boolean().optional(),
});

const User = z.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  token: text,
  tokenFile: text,
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});

const Context = z.object({ cluster: z.string(), user: z.string(), namespace: text });

const Kubeconfig = z.object({
  'current-context': text,
  clusters: z.array(z.object({ name: z.string(), cluster: Cluster })).default([]),
  users: z.array(z.object({ name: z.string(), user: User })).default([]),
  contexts: z.array(z.object({ name: z.string(), context: Context })).default([]),
});

/** The connection that the current context of the file at `path` describes. Throws BadRequest naming file and field. */
export function readKubeconfig(path: string): Connection {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    throw new WindlassError('BadRequest', `cannot read kubeconfig ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseKubeconfig(content, path);
}

/** The same from a text; `path` is for messages and for the files the text refers to. */
export function parseKubeconfig(content: string, path: string): Connection {
  const bad = (message: string, cause?: unknown): WindlassError =>
    new WindlassError('BadRequest', `invalid kubeconfig ${path}: ${message}`, { cause });
  let data: unknown;
  try {
    data = parseYaml(content);
  } catch (error) {
    throw bad((error as Error).message.split('\n')[0] ?? 'not YAML', error);
  }
  const parsed = Kubeconfig.safeParse(data);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw bad(`${issue?.path.join('.') || 'file'}: ${issue?.message ?? 'not a kubeconfig'}`);
  }
  const config = parsed.data;
  const contextName = config['current-context'];
  const context = config.contexts.find(({ name }) => name === contextName)?.context;
  if (!context) throw bad(`there is no context ${JSON.stringify(contextName ?? '')} (current-context)`);
  const cluster = config.clusters.find(({ name }) => name === context.cluster)?.cluster;
  if (!cluster) throw bad(`there is no cluster ${JSON.stringify(context.cluster)}`);
  const user = config.users.find(({ name }) => name === context.user)?.user;
  for (const method of ['exec', 'auth-provider'] as const) {
    if (user?.[method] !== undefined) throw bad(`users.user.${method} is not supported by windlass' own clients`);
  }
  const pem = (inline: string | undefined, file: string | undefined): string | undefined => {
    if (inline !== undefined) return Buffer.from(inline, 'base64').toString('utf8');
    if (file === undefined) return undefined;
    try {
      return readFileSync(resolve(dirname(path), file), 'utf8');
    } catch (error) {
      throw bad((error as Error).message, error);
    }
  };
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: context.namespace ?? 'default',
    ...defined({
      ca: pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
      cert: pem(user?.['client-certificate-data'], user?.['client-certificate']),
      key: pem(user?.['client-key-data'], user?.['client-key']),
      token: user?.token ?? pem(undefined, user?.tokenFile)?.trim(),
      serverName: cluster['tls-server-name'],
      skipTlsVerify: cluster['insecure-skip-tls-verify'],
    }),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
