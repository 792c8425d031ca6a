// Stands in for the node agent in tests of the controllers: it has no runtime, it only says what a node would say.
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient } from '../../client/client.ts';
import { createInformer } from '../../client/informer.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { createLeaseRenewer, NODE_LEASE_NAMESPACE, renewLease } from '../../client/lease.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container, type ContainerStatus } from '../../crds/container.ts';
import { rfc3339, systemClock as clock } from '../../lib/clock.ts';
import { isConflict, isNotFound, isUnavailable } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { runAll } from '../../lib/run-all.ts';

export interface PretendAgent extends AsyncDisposable {
  readonly client: ApiClient;
  /** UIDs of all Containers it was ever given. */
  readonly seen: ReadonlySet<string>;
  /** No more heartbeats, no more status: the node is dead. */
  stop(): Promise<void>;
}

/**
 * Joins node `name` and reports every Container bound to it as running; one whose image is `fails` or `succeeds` as ended,
 * one whose image is `crashes` as waiting to be started again.
 */
export async function startPretendAgent(kubeconfig: string, name: string): Promise<PretendAgent> {
  const client = createApiClient(readKubeconfig(kubeconfig), { userAgent: 'pretend-agent' });
  const log = silentLogger();
  const nodes = client.kind<Node>(nodeKind);
  const containers = client.kind(containerKind);
  const seen = new Set<string>();
  const stop = new AbortController();

  if (!(await nodes.get(name, undefined))) {
    await nodes.create({ metadata: { name, labels: { 'kubernetes.io/hostname': name } } });
  }
  const status = {
    allocatable: { cpu: '4', memory: '8Gi' },
    capacity: { cpu: '4', memory: '8Gi' },
    conditions: [
      { type: 'Ready', status: 'True', reason: 'AgentReady', message: '', lastTransitionTime: rfc3339(clock.now()) },
    ],
  };
  const lease = { namespace: NODE_LEASE_NAMESPACE, name, holderIdentity: name, leaseDurationSeconds: 2 };
  await renewLease({ client, clock }, lease);
  await nodes.mergePatch(name, undefined, { status }, { subresource: 'status' });

  const informer = createInformer(containers, { clock, log });
  const act = async (container: Container): Promise<void> => {
    const { metadata } = container;
    seen.add(metadata.uid ?? '');
    try {
      if (metadata.deletionTimestamp) {
        const finalizers = metadata.finalizers?.filter((finalizer) => finalizer !== 'windlass.dev/node');
        if (finalizers?.length === metadata.finalizers?.length) return;
        await containers.mergePatch(metadata.name, metadata.namespace, { metadata: { finalizers } });
      } else if (!isSettled(container)) {
        const patch = { status: runningStatus(container, name) };
        await containers.mergePatch(metadata.name, metadata.namespace, patch, { subresource: 'status' });
      }
    } catch (error) {
      if (isNotFound(error)) return;
      // The server may be away on purpose, or too many write at once: nothing else may bring the Container back.
      if (!isConflict(error) && !isUnavailable(error)) throw error;
      setTimeout(() => void retry(container), 200);
    }
  };
  const retry = async (container: Container): Promise<void> => {
    const now = informer.get(`${container.metadata.namespace ?? ''}/${container.metadata.name}`);
    if (now && !stop.signal.aborted) await act(now);
  };
  informer.subscribe(({ object, deleted }) => {
    if (!deleted && object.spec.nodeName === name && !stop.signal.aborted) void act(object);
  });
  const running = runAll([informer, createLeaseRenewer({ client, clock, log }, lease)], stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return {
    client,
    seen,
    stop: end,
    async [Symbol.asyncDispose]() {
      await end();
      await client.close();
    },
  };
}

const isSettled = ({ status }: Container): boolean =>
  status?.reason === 'BackOff' ||
  status?.phase === 'Running' ||
  status?.phase === 'Failed' ||
  status?.phase === 'Succeeded';

function runningStatus({ spec, status }: Container, nodeName: string): ContainerStatus {
  const now = rfc3339(clock.now());
  const exitCode = { fails: 1, succeeds: 0 }[spec.image ?? ''];
  const isCrashing = spec.image === 'crashes';
  const state = isCrashing
    ? ({ phase: 'Pending', reason: 'BackOff', restartCount: 1 } as const)
    : exitCode === undefined
      ? ({ phase: 'Running', reason: '' } as const)
      : exitCode === 0
        ? ({ phase: 'Succeeded', reason: 'Completed' } as const)
        : ({ phase: 'Failed', reason: 'Error' } as const);
  return {
    ...status,
    ...state,
    message: '',
    nodeName,
    startedAt: now,
    ...(exitCode === undefined ? {} : { finishedAt: now, exitCode }),
    conditions: [
      { type: 'Scheduled', status: 'True', reason: 'Scheduled', message: '', lastTransitionTime: now },
      {
        type: 'Ready',
        status: state.phase === 'Running' ? 'True' : 'False',
        reason: state.reason || 'Running',
        message: '',
        lastTransitionTime: now,
      },
    ],
  };
}
