// Builders of API objects for tests: what a test does not say is as the server would default it.
import type { Node } from '../../crds/builtin.ts';
import { ContainerSpec, type Container, type ContainerSpecInput, type ContainerStatus } from '../../crds/container.ts';
import type { DisruptionBudget, DisruptionBudgetStatus } from '../../crds/disruption-budget.ts';
import { ImageSpec, type Image, type ImageSpecInput } from '../../crds/image.ts';
import type { ObjectMeta } from '../../crds/kind.ts';
import { NetworkSpec, type Network, type NetworkSpecInput, type NetworkStatus } from '../../crds/network.ts';
import { ServiceSpec, type Service, type ServiceSpecInput, type ServiceStatus } from '../../crds/service.ts';
import { VolumeSpec, type Volume, type VolumeSpecInput, type VolumeStatus } from '../../crds/volume.ts';

/** 2026-01-01T00:00:00Z, the present of the tests. */
export const NOW = Date.UTC(2026, 0, 1);
export const secondsAgo = (seconds: number): string =>
  new Date(NOW - seconds * 1000).toISOString().replace('.000Z', 'Z');

const API_VERSION = 'windlass.dev/v1';

function meta(name: string, metadata: Partial<ObjectMeta> = {}): ObjectMeta {
  return {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: secondsAgo(3600),
    ...metadata,
  };
}

/** A condition of type Ready that turned `seconds` ago. */
export const readyCondition = (
  status: 'True' | 'False' | 'Unknown' = 'True',
  { seconds = 600, reason = 'Ready', message = '' } = {},
): NonNullable<ContainerStatus['conditions']>[number] => ({
  type: 'Ready',
  status,
  reason,
  message,
  lastTransitionTime: secondsAgo(seconds),
});

export function makeContainer(
  name: string,
  {
    metadata,
    status,
    ...spec
  }: Partial<ContainerSpecInput> & { metadata?: Partial<ObjectMeta>; status?: ContainerStatus } = {},
): Container {
  return {
    apiVersion: API_VERSION,
    kind: 'Container',
    metadata: meta(name, metadata),
    spec: ContainerSpec.parse({ image: 'busybox', ...spec }),
    ...(status ? { status } : {}),
  };
}

export function makeService(
  name: string,
  {
    metadata,
    status,
    template,
    ...spec
  }: Partial<Omit<ServiceSpecInput, 'template'>> & {
    metadata?: Partial<ObjectMeta>;
    status?: ServiceStatus;
    template?: Partial<ContainerSpecInput>;
  } = {},
): Service {
  return {
    apiVersion: API_VERSION,
    kind: 'Service',
    metadata: meta(name, metadata),
    spec: ServiceSpec.parse({ ...spec, template: { spec: { image: 'busybox', ...template } } }),
    ...(status ? { status } : {}),
  };
}

export function makeVolume(
  name: string,
  { metadata, status, ...spec }: VolumeSpecInput & { metadata?: Partial<ObjectMeta>; status?: VolumeStatus } = {},
): Volume {
  return {
    apiVersion: API_VERSION,
    kind: 'Volume',
    metadata: meta(name, metadata),
    spec: VolumeSpec.parse(spec),
    ...(status ? { status } : {}),
  };
}

export function makeNetwork(
  name: string,
  { metadata, status, ...spec }: NetworkSpecInput & { metadata?: Partial<ObjectMeta>; status?: NetworkStatus } = {},
): Network {
  return {
    apiVersion: API_VERSION,
    kind: 'Network',
    metadata: meta(name, metadata),
    spec: NetworkSpec.parse(spec),
    ...(status ? { status } : {}),
  };
}

export function makeImage(
  name: string,
  { metadata, ...spec }: ImageSpecInput & { metadata?: Partial<ObjectMeta> },
): Image {
  return {
    apiVersion: API_VERSION,
    kind: 'Image',
    metadata: meta(name, metadata),
    spec: ImageSpec.parse(spec),
  };
}

/** A budget for what has the label `app` with its own name. */
export function makeBudget(
  name: string,
  {
    metadata,
    status,
    ...spec
  }: NonNullable<DisruptionBudget['spec']> & {
    metadata?: Partial<ObjectMeta>;
    status?: DisruptionBudgetStatus;
  } = {},
): DisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: meta(name, metadata),
    spec: { selector: { matchLabels: { app: name } }, ...spec },
    ...(status ? { status: { observedGeneration: 1, ...status } } : {}),
  };
}

/** A Ready node of 4 cores and 8Gi. */
export function makeNode(
  name: string,
  {
    labels = {},
    annotations = {},
    ready = 'True',
    allocatable = { cpu: '4', memory: '8Gi' },
    ...spec
  }: NonNullable<Node['spec']> & {
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ready?: 'True' | 'False' | 'Unknown';
    allocatable?: Record<string, string>;
  } = {},
): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, uid: `uid-${name}`, resourceVersion: '1', labels, annotations },
    spec,
    status: {
      allocatable,
      conditions: [{ type: 'Ready', status: ready, reason: 'Test', message: '', lastTransitionTime: secondsAgo(600) }],
    },
  };
}
