// A Container as the Pod that kubectl's pod commands expect. Pure: called once per stored version of a Container.
import type { Container, ContainerPhase } from '../../crds/container.ts';
import type { OwnerReference } from '../../crds/kind.ts';
import { podSpec } from './pod-spec.ts';
import type { ContainerStateValue, Pod, PodCondition, PodContainerStatus } from './pod.ts';

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const SLOT_LABEL = 'windlass.dev/slot';
const ID_PREFIX = 'windlass://';

/** Pods have fewer phases. */
const PHASES: Readonly<Record<ContainerPhase, Pod['status']['phase']>> = {
  Pending: 'Pending',
  Created: 'Pending',
  Running: 'Running',
  Paused: 'Running',
  Succeeded: 'Succeeded',
  Failed: 'Failed',
  Unknown: 'Unknown',
};

/** The Pod that shows `container`: same name, namespace, uid and labels, one container of the same name. */
export function containerToPod(container: Container): Pod {
  const { metadata, status } = container;
  const { annotations = {}, managedFields: _, ...kept } = metadata;
  const shown = Object.fromEntries(Object.entries(annotations).filter(([key]) => key !== LAST_APPLIED));
  const phase = PHASES[status?.phase ?? 'Pending'];
  const address = status?.networks?.[0]?.ipv4Address ?? (container.spec.hostNetwork ? status?.hostIP : undefined);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...kept,
      ...(Object.keys(shown).length > 0 ? { annotations: shown } : {}),
      ...(metadata.ownerReferences
        ? { ownerReferences: metadata.ownerReferences.map((owner) => showOwner(owner, metadata.labels)) }
        : {}),
    },
    spec: podSpec(container),
    status: {
      phase,
      conditions: podConditions(container),
      ...(phase === 'Failed' && status?.reason ? { reason: status.reason } : {}),
      ...(status?.hostIP ? { hostIP: status.hostIP, hostIPs: [{ ip: status.hostIP }] } : {}),
      ...(address
        ? {
            podIP: address,
            podIPs: container.spec.hostNetwork
              ? [{ ip: address }]
              : (status?.networks ?? []).flatMap(({ ipv4Address, ipv6Address }) =>
                  [ipv4Address, ipv6Address].flatMap((ip) => (ip ? [{ ip }] : [])),
                ),
          }
        : {}),
      ...(metadata.creationTimestamp ? { startTime: metadata.creationTimestamp } : {}),
      qosClass: qosClassOf(container),
      containerStatuses: [containerStatus(container)],
    },
  };
}

/**
 * `kubectl drain` leaves what a DaemonSet owns and moves what any other controller owns; the slot of a Global Service is
 * a node's name, all others are numbers.
 */
function showOwner(owner: OwnerReference, labels: Readonly<Record<string, string>> | undefined): OwnerReference {
  const slot = labels?.[SLOT_LABEL];
  const isGlobal = owner.kind === 'Service' && slot !== undefined && !/^\d+$/.test(slot);
  return isGlobal ? { ...owner, apiVersion: 'apps/v1', kind: 'DaemonSet' } : owner;
}

function podConditions({ status, metadata, spec }: Container): PodCondition[] {
  const find = (type: string) => status?.conditions?.find((condition) => condition.type === type);
  const ready = find('Ready');
  const scheduled = find('Scheduled');
  const at = (time: string | undefined): { lastTransitionTime?: string } =>
    time === undefined ? {} : { lastTransitionTime: time };
  const isBound = spec.nodeName !== undefined && spec.nodeName !== '';
  const isReady = ready?.status ?? 'False';
  const why =
    isReady === 'True' ? {} : { reason: ready?.reason ?? 'ContainersNotReady', message: ready?.message ?? '' };
  return [
    {
      type: 'PodScheduled',
      status: isBound ? 'True' : 'False',
      ...(isBound
        ? {}
        : { reason: scheduled?.reason ?? 'Unschedulable', message: scheduled?.message ?? 'not bound to a node yet' }),
      ...at(scheduled?.lastTransitionTime ?? metadata.creationTimestamp),
    },
    { type: 'Initialized', status: 'True', ...at(metadata.creationTimestamp) },
    { type: 'ContainersReady', status: isReady, ...why, ...at(ready?.lastTransitionTime) },
    { type: 'Ready', status: isReady, ...why, ...at(ready?.lastTransitionTime) },
  ];
}

function containerStatus(container: Container): PodContainerStatus {
  const { status, metadata, spec } = container;
  const isReady = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;
  const isRunning = status?.phase === 'Running' || status?.phase === 'Paused';
  const last = status?.lastTermination;
  return {
    name: metadata.name,
    image: status?.image ?? spec.image ?? spec.imageName ?? '',
    imageID: status?.imageDigest ?? '',
    ...(status?.containerID ? { containerID: `${ID_PREFIX}${status.containerID}` } : {}),
    ready: isReady,
    started: isRunning,
    restartCount: status?.restartCount ?? 0,
    state: presentState(container),
    lastState: last
      ? {
          terminated: {
            exitCode: last.exitCode,
            reason: last.reason ?? (last.exitCode === 0 ? 'Completed' : 'Error'),
            ...(last.startedAt ? { startedAt: last.startedAt } : {}),
            ...(last.finishedAt ? { finishedAt: last.finishedAt } : {}),
            ...(last.containerID ? { containerID: `${ID_PREFIX}${last.containerID}` } : {}),
          },
        }
      : {},
  };
}

function presentState({ status }: Container): ContainerStateValue {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  switch (status?.phase) {
    case 'Running':
    case 'Paused':
      return { running: { startedAt: status.startedAt ?? '' } };
    case 'Succeeded':
    case 'Failed':
      return {
        terminated: {
          exitCode: status.exitCode ?? 0,
          reason: status.reason ?? (status.phase === 'Failed' ? 'Error' : 'Completed'),
          ...(status.message ? { message: status.message } : {}),
          ...(status.startedAt ? { startedAt: status.startedAt } : {}),
          ...(status.finishedAt ? { finishedAt: status.finishedAt } : {}),
          ...(status.containerID ? { containerID: `${ID_PREFIX}${status.containerID}` } : {}),
        },
      };
    default: {
      // The word that people and dashboards look for.
      const reason = ready?.reason === 'BackOff' ? 'CrashLoopBackOff' : (ready?.reason ?? 'ContainerCreating');
      return { waiting: { reason, ...(ready?.message ? { message: ready.message } : {}) } };
    }
  }
}

function qosClassOf({ spec }: Container): string {
  const { limits, requests } = spec.resources ?? {};
  if (!limits && !requests) return 'BestEffort';
  const isGuaranteed = (['cpu', 'memory'] as const).every(
    (name) => limits?.[name] !== undefined && (requests?.[name] === undefined || requests[name] === limits[name]),
  );
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}
