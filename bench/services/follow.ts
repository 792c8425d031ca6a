// Services of a running instance as the measurements move and watch them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient, KindClient, WatchEvent } from '../../client/client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import type { KubernetesObject } from '../../crds/kind.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import type { TestInstance } from '../../test/support/instance.ts';
import { waitFor } from '../../test/support/wait.ts';
import { SLEEP } from '../runtime/peer.ts';

const LONGEST_MS = 300_000;
const namespace = 'default';

export interface FollowedServices {
  readonly api: ApiClient;
  /** Resolves when the replicas are usable. */
  create(name: string, replicas: number): Promise<void>;
  /** Resolves when `replicas` are there and usable, and no more in the whole namespace. */
  scale(name: string, replicas: number): Promise<void>;
  /** Kills one replica from outside, the oldest unless said; resolves when it runs again and is Ready. */
  killOne(name: string, index?: number): Promise<void>;
  /** Resolves when no Container is left in the namespace. */
  remove(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Looks every 5 ms. */
export const until = (isThere: () => boolean | Promise<boolean>, what: string): Promise<unknown> =>
  waitFor(async () => (await isThere()) || undefined, { timeoutMs: LONGEST_MS, intervalMs: 5, what });

/** Follows what is in namespace `default` of `instance`, which has Image `busybox`. */
export async function followServices(instance: Pick<TestInstance, 'kubeconfig' | 'run'>): Promise<FollowedServices> {
  const api = createApiClient(readKubeconfig(instance.kubeconfig));
  const services = api.kind<Service>(serviceKind);
  const containers = api.kind<Container>(containerKind);
  const there = new Map<string, Container>();
  const seen = new Map<string, Service>();
  const stop = new AbortController();
  const [fromContainers, fromServices] = await Promise.all([
    containers.list({ namespace }),
    services.list({ namespace }),
  ]);
  const following = Promise.all([
    follow(containers, fromContainers.resourceVersion, stop.signal, ({ type, object }) => {
      if (type === 'DELETED') there.delete(object.metadata.uid ?? '');
      else there.set(object.metadata.uid ?? '', object);
    }),
    follow(services, fromServices.resourceVersion, stop.signal, ({ type, object }) => {
      if (type !== 'DELETED') seen.set(object.metadata.name, object);
    }),
  ]).catch(() => undefined);
  const membersOf = (uid: string | undefined): Container[] =>
    [...there.values()].filter(({ metadata }) => metadata.ownerReferences?.[0]?.uid === uid);
  const has = (name: string, replicas: number): boolean => {
    const { metadata, status } = seen.get(name) ?? {};
    const isCurrent = metadata !== undefined && status?.observedGeneration === metadata.generation;
    return isCurrent && status?.readyReplicas === replicas && membersOf(metadata.uid).length === replicas;
  };
  return {
    api,
    async create(name, replicas) {
      const template = { spec: { imageName: 'busybox', command: SLEEP, terminationGracePeriodSeconds: 0 } };
      const spec = { replicas, template } as unknown as Service['spec'];
      const { metadata } = await services.create({ metadata: { name, namespace }, spec });
      const isNew = (): boolean => seen.get(name)?.metadata.uid === metadata.uid;
      await until(() => isNew() && has(name, replicas), `Service ${name}`);
    },
    async scale(name, replicas) {
      const { metadata } = await services.mergePatch(name, namespace, { spec: { replicas } });
      const isNew = (): boolean => (seen.get(name)?.metadata.generation ?? 0) >= (metadata.generation ?? 0);
      await until(() => isNew() && has(name, replicas), `${replicas} replicas`);
    },
    async killOne(name, index = 0) {
      const one = membersOf(seen.get(name)?.metadata.uid)[index];
      if (!one) throw new Error('no replica to kill');
      const { containerID = '', restartCount = 0 } = one.status ?? {};
      const pid = readFileSync(join(instance.run, 'shim/b', containerID, 'pid'), 'utf8');
      process.kill(Number(pid), 'SIGKILL');
      const isBack = (): boolean => {
        const now = there.get(one.metadata.uid ?? '');
        const ready = now?.status?.conditions?.find(({ type }) => type === 'Ready');
        return (now?.status?.restartCount ?? 0) > restartCount && ready?.status === 'True';
      };
      await until(isBack, 'the replica after the kill');
    },
    async remove(name) {
      const uid = seen.get(name)?.metadata.uid;
      await services.delete(name, namespace, { propagationPolicy: 'Background' });
      await until(() => membersOf(uid).length === 0, 'its end');
      seen.delete(name);
    },
    async close() {
      stop.abort();
      await following;
      await api.close();
    },
  };
}

/** Tells `observe` of what happens after `from`; the server ends each watch after some minutes. */
async function follow<T extends KubernetesObject>(
  client: KindClient<T>,
  from: string,
  signal: AbortSignal,
  observe: (event: WatchEvent<T>) => void,
): Promise<void> {
  let resourceVersion = from;
  while (!signal.aborted) {
    for await (const event of client.watch({ namespace, resourceVersion }, signal)) {
      resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
      if (event.type !== 'BOOKMARK') observe(event);
    }
  }
}
