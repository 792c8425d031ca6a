// Container -> CRI ContainerConfig: process, environment, mounts, rights, limits.
import { RUNTIME_ANNOTATIONS } from '../../../cri/annotations.ts';
import type { Container, ContainerStatus } from '../../../crds/container.ts';
import { logPathOf } from '../logs/log-files.ts';
import type { RuntimeContainerConfig } from '../runtime/node-runtime.ts';
import type { UserRange } from '../users/user-ranges.ts';
import { ANNOTATIONS } from './annotations.ts';
import { expandVariables } from './env.ts';
import { linuxResources, storageAnnotations } from './resources.ts';
import { rootfsKeyOf } from './rootfs-key.ts';
import { userNamespaceOf } from './sandbox-config.ts';
import { criSignal } from './signals.ts';
import { specHash } from './spec-hash.ts';

export interface TmpfsMount {
  readonly path: string;
  /** 0 = the kernel's default, half of the memory. */
  readonly sizeBytes: number;
  readonly mode: number;
}

export interface PreparedMounts {
  readonly mounts: NonNullable<RuntimeContainerConfig['mounts']>;
  readonly tmpfs: readonly TmpfsMount[];
  /** Container paths of mounts whose source a container might replace by a link before it is mounted. */
  readonly noFollow?: readonly string[];
  /** As status.mounts shows them. */
  readonly report: readonly object[];
}

export interface ContainerConfigInput {
  readonly container: Container;
  readonly attempt: number;
  readonly restartCount: number;
  readonly shortRuns: number;
  readonly image: { readonly id: string; readonly digest: string; readonly reference: string };
  readonly env: readonly { readonly key: string; readonly value: string }[];
  readonly mounts: PreparedMounts;
  /** For a user namespace of its own. */
  readonly userRange?: UserRange | undefined;
  /** How the run that this one follows ended. */
  readonly lastTermination?: ContainerStatus['lastTermination'];
}

/** The CRI container of one run. */
export function containerConfig(input: ContainerConfigInput): RuntimeContainerConfig {
  const { container, attempt, image } = input;
  const { spec } = container;
  const values = new Map(input.env.map(({ key, value }) => [key, value]));
  const expand = (words: readonly string[] | undefined): string[] =>
    (words ?? []).map((word) => expandVariables(word, values));
  const stopSignal = spec.stopSignal === undefined ? undefined : criSignal(spec.stopSignal);
  return {
    metadata: { name: container.metadata.name, attempt },
    image: { image: image.id, userSpecifiedImage: image.reference },
    command: expand(spec.command),
    args: expand(spec.args),
    workingDir: spec.workingDir ?? '',
    envs: input.env.map(({ key, value }) => ({ key, value: Buffer.from(value) })),
    mounts: input.mounts.mounts.map((mount) => withMapping(mount, input.userRange)),
    devices: (spec.devices ?? []).map((device) => ({
      hostPath: device.hostPath,
      containerPath: device.containerPath ?? device.hostPath,
      permissions: device.permissions ?? 'rwm',
    })),
    labels: {
      ...container.metadata.labels,
      'io.kubernetes.pod.name': container.metadata.name,
      'io.kubernetes.pod.namespace': container.metadata.namespace ?? '',
      'io.kubernetes.pod.uid': container.metadata.uid ?? '',
      'io.kubernetes.container.name': container.metadata.name,
    },
    annotations: annotationsOf(input),
    logPath: logPathOf(container.metadata.name, attempt),
    stdin: spec.stdin ?? false,
    stdinOnce: spec.stdinOnce ?? false,
    tty: spec.tty ?? false,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    linux: {
      resources: linuxResources(spec.resources),
      securityContext: securityContextOf(container, input.userRange),
    },
  };
}

function annotationsOf(input: ContainerConfigInput): Record<string, string> {
  const { spec, metadata } = input.container;
  return {
    [ANNOTATIONS.specHash]: specHash(spec),
    [ANNOTATIONS.restartCount]: String(input.restartCount),
    [ANNOTATIONS.shortRuns]: String(input.shortRuns),
    [ANNOTATIONS.restartedAt]: spec.restartedAt ?? '',
    [ANNOTATIONS.generation]: String(metadata.generation ?? 0),
    [ANNOTATIONS.imageDigest]: input.image.digest,
    [ANNOTATIONS.image]: input.image.reference,
    [ANNOTATIONS.mounts]: JSON.stringify(input.mounts.report),
    ...(input.lastTermination ? { [ANNOTATIONS.lastTermination]: JSON.stringify(input.lastTermination) } : {}),
    [RUNTIME_ANNOTATIONS.rootfsKey]: rootfsKeyOf(input.container),
    ...(input.mounts.tmpfs.length > 0 ? { [RUNTIME_ANNOTATIONS.tmpfs]: JSON.stringify(input.mounts.tmpfs) } : {}),
    ...(input.mounts.noFollow?.length ? { [RUNTIME_ANNOTATIONS.noFollow]: JSON.stringify(input.mounts.noFollow) } : {}),
    ...(spec.ulimits ? { [RUNTIME_ANNOTATIONS.ulimits]: JSON.stringify(spec.ulimits) } : {}),
    ...(spec.resources?.limits?.pids ? { [RUNTIME_ANNOTATIONS.pidsLimit]: String(spec.resources.limits.pids) } : {}),
    ...storageAnnotations(spec.resources),
    ...(spec.groups ? { [RUNTIME_ANNOTATIONS.groups]: JSON.stringify(spec.groups) } : {}),
    ...(spec.init ? { [RUNTIME_ANNOTATIONS.init]: 'true' } : {}),
  };
}

/** Files keep the owners they have outside: root of the container is who root is in the volume. */
function withMapping(mount: PreparedMounts['mounts'][number], range: UserRange | undefined) {
  if (range === undefined || mount.image) return mount;
  const mapping = [{ containerId: 0, ...range }];
  return { ...mount, uidMappings: mapping, gidMappings: mapping };
}

type SecurityContext = NonNullable<NonNullable<RuntimeContainerConfig['linux']>['securityContext']>;

function securityContextOf({ spec }: Container, userRange: UserRange | undefined): SecurityContext {
  const context = spec.securityContext;
  const profile = context?.seccompProfile;
  const shared = spec.shareNamespaces;
  return {
    privileged: context?.privileged ?? false,
    readonlyRootfs: context?.readOnlyRootFilesystem ?? false,
    noNewPrivs: context?.allowPrivilegeEscalation === false,
    capabilities: {
      addCapabilities: (context?.capabilities?.add ?? []).map(withoutPrefix),
      dropCapabilities: (context?.capabilities?.drop ?? []).map(withoutPrefix),
    },
    seccomp: { profileType: profile?.type ?? 'RuntimeDefault', localhostRef: profile?.localhostProfile ?? '' },
    ...userOf(spec.user),
    supplementalGroups: (spec.groups ?? []).filter((group) => /^\d+$/.test(group)).map(Number),
    namespaceOptions: {
      network: spec.hostNetwork ? 'NODE' : 'POD',
      pid: spec.hostPID ? 'NODE' : shared?.pid === undefined ? 'CONTAINER' : 'TARGET',
      ipc: spec.hostIPC ? 'NODE' : 'POD',
      ...userNamespaceOf(userRange),
    },
  };
}

/** CRI takes a number and a group, or a name; `name:group` goes whole into the name, which the runtime resolves. */
function userOf(user: string | undefined): SecurityContext {
  if (user === undefined) return {};
  const match = /^(\d+)(?::(\d+))?$/.exec(user);
  if (!match) return { runAsUsername: user };
  return {
    runAsUser: { value: Number(match[1]) },
    ...(match[2] === undefined ? {} : { runAsGroup: { value: Number(match[2]) } }),
  };
}

const withoutPrefix = (capability: string): string => capability.replace(/^CAP_/, '');
