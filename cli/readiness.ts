// How `up` knows that a component does its work, not only that its process exists.
import { connect } from 'node:net';
import { paths, type Instance } from '../lib/instance.ts';
import { leaseKind, nodeKind, type Lease, type Node } from '../crds/builtin.ts';
import type { ApiClient } from '../client/client.ts';
import { messageOf } from '../lib/errors.ts';
import { parseHostPort, type HostPort } from '../lib/host-port.ts';
import type { ComponentName } from './components.ts';

export interface ReadinessDependencies {
  readonly instance: Instance;
  readonly api: ApiClient;
  readonly nodeName: string;
  /** `host:port` of etcd's plain health listener; undefined with outside servers. */
  readonly etcdMetrics: string | undefined;
  /** `host:port` of the registry; undefined where none runs. */
  readonly registryListen?: string | undefined;
  /** When the process was started, in milliseconds since the epoch; a heartbeat from before is an earlier one's. */
  readonly startedAt: number;
}

/** Why the component is not ready yet; undefined when it is. Never throws: what fails is the reason. */
export async function checkReadiness(
  name: ComponentName,
  dependencies: ReadinessDependencies,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await CHECKS[name](dependencies, AbortSignal.any([signal, AbortSignal.timeout(5_000)]));
  } catch (error) {
    return messageOf(error);
  }
}

const CHECKS: Readonly<
  Record<ComponentName, (dependencies: ReadinessDependencies, signal: AbortSignal) => Promise<string | undefined>>
> = {
  async etcd({ etcdMetrics }, signal) {
    const response = await fetch(`http://${etcdMetrics}/health`, { signal });
    const health = (await response.json()) as { health?: string };
    return health.health === 'true' ? undefined : 'has no leader yet';
  },
  async apiserver({ api }, signal) {
    const { status, body } = await api.raw('/readyz', signal);
    return status === 200 ? undefined : `answers ${status}: ${body.trim().split('\n').at(-1)}`;
  },
  registry: ({ registryListen }, signal) => connects(parseHostPort(registryListen ?? ''), signal),
  'runtime-shim': ({ instance }, signal) => connects(paths.criSocket(instance), signal),
  async controllers({ api, startedAt }, signal) {
    const lease = await api.kind<Lease>(leaseKind).get('windlass-controllers', 'windlass-system', signal);
    return isRenewedSince(lease, startedAt) && lease?.spec?.holderIdentity ? undefined : 'no leader yet';
  },
  async 'node-agent'({ api, nodeName, startedAt }, signal) {
    const heartbeat = await api.kind<Lease>(leaseKind).get(nodeName, 'kube-node-lease', signal);
    if (!isRenewedSince(heartbeat, startedAt)) return 'no heartbeat yet';
    const node = await api.kind<Node>(nodeKind).get(nodeName, undefined, signal);
    const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready');
    return ready?.status === 'True' ? undefined : (ready?.message ?? `node ${nodeName} is not registered yet`);
  },
};

function isRenewedSince(lease: Lease | undefined, startedAt: number): boolean {
  return Date.parse(lease?.spec?.renewTime ?? '') >= startedAt;
}

function connects(target: string | HostPort, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = typeof target === 'string' ? connect(target) : connect(target.port, target.host);
    const finish = (reason: string | undefined): void => {
      socket.destroy();
      resolve(reason);
    };
    socket.once('connect', () => finish(undefined));
    socket.once('error', (error) => finish(error.message));
    signal.addEventListener('abort', () => finish('no answer'), { once: true });
  });
}
