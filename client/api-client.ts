// The API client over HTTP. Docs of the verbs are in client.ts.
import { apiVersionOf, type KindName, type KubernetesObject } from '../crds/kind.ts';
import { isExpired, isNotFound, WindlassError } from '../lib/errors.ts';
import type { Registry } from '../lib/metrics.ts';
import type { ApiClient, KindClient, ListOptions, WatchEvent } from './client.ts';
import type { Connection } from './kubeconfig.ts';
import { statusError } from './status-error.ts';
import { createTransport, transportError, type Transport } from './transport.ts';
import { parseFrame, splitLines } from './watch.ts';

export interface ApiClientOptions {
  /** Name of the process, e.g. `windlass-controllers`. */
  readonly userAgent?: string;
  /** Where rest_client_* metrics go. */
  readonly registry?: Registry;
  /** Requests that are under way at the same time, watches and leases left out; 8 unless said. */
  readonly maxConnections?: number;
}

/** The view of Containers that can be evicted. */
const PODS: KindName = { group: '', version: 'v1', kind: 'Pod', plural: 'pods', namespaced: true };

const PAGE_SIZE = 500;
/** The server sends a bookmark about every minute; a watch that is silent for longer has lost its server. */
const WATCH_IDLE_MS = 150_000;
const WATCH_MIN_SECONDS = 300;

/** A client for the server of `connection`. */
export function createApiClient(connection: Connection, options: ApiClientOptions = {}): ApiClient {
  const userAgent = options.userAgent ?? 'windlass';
  const transport = createTransport(connection, {
    userAgent,
    registry: options.registry,
    maxConnections: options.maxConnections,
  });
  return {
    kind: (kind) => createKindClient(kind, { transport, connection, fieldManager: userAgent }),
    async evict(name, namespace, { uid } = {}, signal) {
      const path = `${objectPath(PODS, namespace, name)}/eviction`;
      const deleteOptions = uid === undefined ? {} : { deleteOptions: { preconditions: { uid } } };
      const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace }, ...deleteOptions };
      try {
        await transport.json({ method: 'POST', path, body }, signal);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
    async raw(path, signal) {
      const { code, body } = await transport.send({ method: 'GET', path }, signal);
      try {
        return { status: code, body: await body.text() };
      } catch (error) {
        throw transportError(error, `GET ${path}`, connection.server, signal);
      }
    },
    get server() {
      return transport.server;
    },
    setServers: (others) => transport.setServers(others),
    setCredentials: (pair) => transport.setCredentials(pair),
    close: () => transport.close(),
  };
}

interface Deps {
  readonly transport: Transport;
  readonly connection: Connection;
  readonly fieldManager: string;
}

function createKindClient<T extends KubernetesObject>(
  kind: KindName & { readonly type?: T },
  deps: Deps,
): KindClient<T> {
  const { transport } = deps;
  const write = new URLSearchParams({ fieldManager: deps.fieldManager }).toString();
  const object = async (call: Parameters<Transport['json']>[0], signal: AbortSignal | undefined): Promise<T> =>
    withKind<T>(kind, await transport.json(call, signal));
  const patch = (
    [name, namespace, subresource]: readonly [string, string | undefined, string | undefined],
    body: object,
    contentType: string,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    const path = `${objectPath(kind, namespace, name)}${subresource ? `/${subresource}` : ''}?${write}`;
    return object({ method: 'PATCH', path, body, contentType }, signal);
  };
  const put = (subject: T, subresource: string, signal: AbortSignal | undefined): Promise<T> => {
    const path = objectPath(kind, subject.metadata.namespace, subject.metadata.name);
    return object(
      { method: 'PUT', path: `${path}${subresource}?${write}`, body: withKind(kind, { ...subject }) },
      signal,
    );
  };
  return {
    kind,
    async get(name, namespace, signal) {
      try {
        return await object({ method: 'GET', path: objectPath(kind, namespace, name) }, signal);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    async list(options = {}, signal) {
      try {
        return await listPages<T>(kind, deps, options, PAGE_SIZE, signal);
      } catch (error) {
        // The pages' common revision was compacted away meanwhile: one answer has no second page to miss.
        if (!isExpired(error)) throw error;
        return listPages<T>(kind, deps, options, undefined, signal);
      }
    },
    watch: (options, signal) => watchFrames<T>(kind, deps, options, signal),
    create(subject, signal) {
      const path = `${collectionPath(kind, subject.metadata.namespace)}?${write}`;
      return object({ method: 'POST', path, body: withKind(kind, { ...subject }) }, signal);
    },
    update: (subject, signal) => put(subject, '', signal),
    updateStatus: (subject, signal) => put(subject, '/status', signal),
    finalize: (subject, signal) => put(subject, '/finalize', signal),
    mergePatch: (name, namespace, body, options = {}, signal) =>
      patch([name, namespace, options.subresource], body, 'application/merge-patch+json', signal),
    jsonPatch: (name, namespace, operations, options = {}, signal) =>
      patch([name, namespace, options.subresource], operations, 'application/json-patch+json', signal),
    async delete(name, namespace, options = {}, signal) {
      const { uid, resourceVersion, ...rest } = options;
      const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...rest,
        ...(Object.keys(preconditions).length > 0 ? { preconditions } : {}),
      };
      try {
        await transport.json({ method: 'DELETE', path: objectPath(kind, namespace, name), body }, signal);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
  };
}

async function listPages<T extends KubernetesObject>(
  kind: KindName,
  { transport }: Deps,
  options: ListOptions,
  limit: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ items: T[]; resourceVersion: string }> {
  const items: T[] = [];
  let continueToken: string | undefined;
  for (;;) {
    const query = selectorQuery(options);
    if (limit !== undefined) query.set('limit', String(limit));
    if (continueToken !== undefined) query.set('continue', continueToken);
    const path = `${collectionPath(kind, options.namespace)}?${query.toString()}`;
    const page = (await transport.json({ method: 'GET', path }, signal)) as {
      items?: unknown[] | null;
      metadata?: { resourceVersion?: string; continue?: string };
    };
    const { resourceVersion, continue: next } = page.metadata ?? {};
    if (resourceVersion === undefined) {
      throw new WindlassError('Unavailable', `GET ${path} was answered with something that is not a list`);
    }
    for (const item of page.items ?? []) items.push(withKind<T>(kind, item));
    if (!next) return { items, resourceVersion };
    continueToken = next;
  }
}

async function* watchFrames<T extends KubernetesObject>(
  kind: KindName,
  { transport, connection }: Deps,
  options: ListOptions & { resourceVersion: string },
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>> {
  const query = selectorQuery(options);
  query.set('watch', 'true');
  query.set('allowWatchBookmarks', 'true');
  query.set('resourceVersion', options.resourceVersion);
  // Random, so that the watches of many clients do not come back in the same second.
  query.set('timeoutSeconds', String(Math.round(WATCH_MIN_SECONDS * (1 + Math.random()))));
  const path = `${collectionPath(kind, options.namespace)}?${query.toString()}`;
  const what = `GET ${path}`;
  try {
    const { code, body } = await transport.send({ method: 'GET', path, idleTimeoutMs: WATCH_IDLE_MS }, signal);
    if (code !== 200) throw statusError(code, parseBody(await body.text()), what);
    for await (const line of splitLines(body)) {
      const event = parseFrame<T>(line, what);
      yield { type: event.type, object: withKind<T>(kind, event.object) };
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof WindlassError ? error : transportError(error, what, connection.server, signal);
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Items of upstream's typed lists carry no kind; ours always do. */
function withKind<T extends KubernetesObject>(kind: KindName, value: unknown): T {
  const object = value as Partial<KubernetesObject>;
  object.apiVersion ??= apiVersionOf(kind);
  object.kind ??= kind.kind;
  return object as T;
}

function selectorQuery({ labelSelector, fieldSelector }: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (labelSelector) query.set('labelSelector', labelSelector);
  if (fieldSelector) query.set('fieldSelector', fieldSelector);
  return query;
}

/** Path of the objects of `kind`, in `namespace` if given. */
export function collectionPath(kind: KindName, namespace?: string): string {
  const base = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const within = kind.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${base}${within}/${kind.plural}`;
}

/** Path of one object. */
export function objectPath(kind: KindName, namespace: string | undefined, name: string): string {
  if (kind.namespaced && !namespace) {
    throw new WindlassError('BadRequest', `a ${kind.kind} needs a namespace: ${JSON.stringify(name)}`);
  }
  // A URL parser would take these two as steps to another resource.
  if (name === '' || name === '.' || name === '..') {
    throw new WindlassError('BadRequest', `${JSON.stringify(name)} is not the name of a ${kind.kind}`);
  }
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`;
}
