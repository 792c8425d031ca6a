// Records as CRI messages.
import type {
  Container,
  ContainerState,
  ContainerStatus,
  Draft,
  ImageSpec,
  PodSandbox,
  PodSandboxState,
  PodSandboxStatus,
} from '../../cri/messages.ts';
import { criSignalName } from '../oci-runtime/signals.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';

/** CRI's times; precise to 256 ns, see cri/messages.ts. */
export const nanoseconds = (ms: number): number => ms * 1_000_000;

const STATES: Readonly<Record<ContainerRecord['phase'], ContainerState>> = {
  creating: 'CONTAINER_UNKNOWN',
  created: 'CONTAINER_CREATED',
  running: 'CONTAINER_RUNNING',
  exited: 'CONTAINER_EXITED',
  removing: 'CONTAINER_UNKNOWN',
};

export const containerState = (record: ContainerRecord): ContainerState => STATES[record.phase];

export const sandboxState = (record: SandboxRecord): PodSandboxState =>
  record.phase === 'ready' ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY';

/** A kubelet names the image by its id and adds what its user wrote, which is what a reader wants to see. */
function namedImage({ config: { image } }: ContainerRecord): ImageSpec | null {
  return image?.userSpecifiedImage ? { ...image, image: image.userSpecifiedImage } : image;
}

export function toContainer(record: ContainerRecord): Draft<Container> {
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: record.config.metadata,
    image: namedImage(record),
    imageRef: record.imageRef,
    imageId: record.imageId,
    state: containerState(record),
    createdAt: nanoseconds(record.createdAtMs),
    labels: record.config.labels,
    annotations: record.config.annotations,
  };
}

export function toContainerStatus(record: ContainerRecord): Draft<ContainerStatus> {
  const { config, user } = record;
  return {
    id: record.id,
    metadata: config.metadata,
    state: containerState(record),
    createdAt: nanoseconds(record.createdAtMs),
    startedAt: nanoseconds(record.startedAtMs),
    finishedAt: nanoseconds(record.finishedAtMs),
    exitCode: record.exitCode,
    image: namedImage(record),
    imageRef: record.imageRef,
    imageId: record.imageId,
    reason: record.reason,
    message: record.message,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    logPath: record.logPath ?? '',
    resources: { linux: record.resources },
    user: user ? { linux: { uid: user.uid, gid: user.gid, supplementalGroups: user.groups } } : null,
    stopSignal: criSignalName(record.stopSignal),
  };
}

export function toSandbox(record: SandboxRecord): Draft<PodSandbox> {
  return {
    id: record.id,
    metadata: record.config.metadata,
    state: sandboxState(record),
    createdAt: nanoseconds(record.createdAtMs),
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.runtimeHandler,
  };
}

export function toSandboxStatus(shim: Shim, record: SandboxRecord): Draft<PodSandboxStatus> {
  const network = shim.network.sandboxStatus(record.networkOf ?? record.id);
  const [first, ...more] = (network?.interfaces ?? [])
    .flatMap(({ ipv4Address, ipv6 }) => [ipv4Address, ...(ipv6 ? [ipv6.address] : [])])
    .map((ip) => ({ ip }));
  return {
    ...toSandbox(record),
    network: { ip: first?.ip ?? '', additionalIps: more },
    linux: { namespaces: { options: record.config.linux?.securityContext?.namespaceOptions ?? null } },
  };
}
