// The five kinds of windlass.dev/v1, in the order that documents list them.
import { containerKind } from './container.ts';
import { imageKind } from './image.ts';
import type { CustomKind } from './kind.ts';
import { networkKind } from './network.ts';
import { serviceKind } from './service.ts';
import { volumeKind } from './volume.ts';

export { containerKind, CONTAINER_PHASES, ContainerSpec, ContainerStatus } from './container.ts';
export type { Container, ContainerPhase, ContainerSpecInput } from './container.ts';
export { imageKind, ImageSpec, ImageStatus } from './image.ts';
export type { Image, ImageSpecInput } from './image.ts';
export { networkKind, NetworkSpec, NetworkStatus } from './network.ts';
export type { Network, NetworkSpecInput } from './network.ts';
export { serviceKind, ServiceSpec, ServiceStatus, UpdateStrategy } from './service.ts';
export type { Service, ServicePort, ServiceSpecInput } from './service.ts';
export { volumeKind, VolumeSpec, VolumeStatus } from './volume.ts';
export type { Volume, VolumeSpecInput } from './volume.ts';

export const KINDS: readonly CustomKind[] = [imageKind, containerKind, volumeKind, networkKind, serviceKind];
