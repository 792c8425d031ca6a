// An ApiClient over a Map, for tests of what writes objects; its faults are switched on by the test.
import type { ApiClient, KindClient } from '../../../client/client.ts';
import { apiVersionOf, type KindName, type KubernetesObject } from '../../../crds/kind.ts';
import { WindlassError } from '../../../lib/errors.ts';

export interface MemoryClient extends ApiClient {
  /** Objects by `plural/namespace/name`. */
  readonly objects: Map<string, KubernetesObject>;
  /** Every call as `verb key`. */
  readonly calls: string[];
  /** Thrown by every call while set. */
  failure: Error | undefined;
  /** Which server is asked, as the test wants it. */
  server: string;
}

export function createMemoryClient(): MemoryClient {
  let version = 0;
  const client: MemoryClient = {
    objects: new Map(),
    calls: [],
    failure: undefined,
    kind: <T extends KubernetesObject>(kind: KindName & { readonly type?: T }) => kindClient<T>(kind),
    raw: () => Promise.resolve({ status: 200, body: 'ok' }),
    server: 'memory',
    setServers: () => undefined,
    setCredentials: () => undefined,
    evict: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const kindClient = <T extends KubernetesObject>(kind: KindName): KindClient<T> => {
    const keyOf = (namespace: string | undefined, name: string): string => `${kind.plural}/${namespace ?? ''}/${name}`;
    const enter = async (verb: string, key: string): Promise<T | undefined> => {
      await Promise.resolve();
      client.calls.push(`${verb} ${key}`);
      if (client.failure) throw client.failure;
      return client.objects.get(key) as T | undefined;
    };
    const store = (key: string, object: object): T => {
      version += 1;
      const given = structuredClone(object) as T;
      const stored = {
        ...given,
        apiVersion: apiVersionOf(kind),
        kind: kind.kind,
        metadata: { ...given.metadata, resourceVersion: String(version) },
      };
      client.objects.set(key, stored);
      return stored;
    };
    const unsupported = (): never => {
      throw new Error('not in the memory client');
    };
    return {
      kind,
      get: async (name, namespace) => structuredClone(await enter('get', keyOf(namespace, name))),
      async create(object) {
        const key = keyOf(object.metadata.namespace, object.metadata.name ?? '');
        if (await enter('create', key)) throw new WindlassError('AlreadyExists', `${key} exists`);
        return store(key, object);
      },
      async update(object) {
        const key = keyOf(object.metadata.namespace, object.metadata.name);
        const old = await enter('update', key);
        if (!old) throw new WindlassError('NotFound', `${key} is not there`);
        if (old.metadata.resourceVersion !== object.metadata.resourceVersion) {
          throw new WindlassError('Conflict', `${key} has changed`);
        }
        return store(key, object);
      },
      async mergePatch(name, namespace, patch) {
        const key = keyOf(namespace, name);
        const old = await enter('patch', key);
        if (!old) throw new WindlassError('NotFound', `${key} is not there`);
        return store(key, merge(old, patch));
      },
      async delete(name, namespace) {
        await enter('delete', keyOf(namespace, name));
        client.objects.delete(keyOf(namespace, name));
      },
      finalize: unsupported,
      list: unsupported,
      watch: unsupported,
      updateStatus: unsupported,
      jsonPatch: unsupported,
    };
  };
  return client;
}

function merge(target: object, patch: object): object {
  const out: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    const before = out[key];
    const canMerge = value !== null && typeof value === 'object' && !Array.isArray(value);
    if (value === null) delete out[key];
    else if (canMerge) out[key] = merge((before ?? {}) as object, value as object);
    else out[key] = value;
  }
  return out;
}
