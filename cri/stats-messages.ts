// The messages of proto/runtime.proto about measurements, events and images; see messages.ts for the conventions.
import type {
  Container,
  ContainerMetadata,
  ContainerStatus,
  ImageSpec,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxMetadata,
  PodSandboxStatus,
  StringMap,
  Value,
} from './messages.ts';

/** Pressure: nanoseconds stalled in all, and the share of the last 10, 60 and 300 seconds in percent. */
export interface PsiData {
  readonly Total: number;
  readonly Avg10: number;
  readonly Avg60: number;
  readonly Avg300: number;
}
export interface PsiStats {
  readonly Full: PsiData | null;
  readonly Some: PsiData | null;
}
export interface CpuUsage {
  readonly timestamp: number;
  readonly usageCoreNanoSeconds: Value | null;
  readonly usageNanoCores: Value | null;
  readonly psi: PsiStats | null;
}
export interface IoUsage {
  readonly timestamp: number;
  readonly psi: PsiStats | null;
}
export interface MemoryUsage {
  readonly timestamp: number;
  readonly workingSetBytes: Value | null;
  readonly availableBytes: Value | null;
  readonly usageBytes: Value | null;
  readonly rssBytes: Value | null;
  readonly pageFaults: Value | null;
  readonly majorPageFaults: Value | null;
  readonly psi: PsiStats | null;
}
export interface FilesystemUsage {
  readonly timestamp: number;
  readonly fsId: { readonly mountpoint: string } | null;
  readonly usedBytes: Value | null;
  readonly inodesUsed: Value | null;
}
export interface ContainerStats {
  readonly attributes: {
    readonly id: string;
    readonly metadata: ContainerMetadata | null;
    readonly labels: StringMap;
    readonly annotations: StringMap;
  } | null;
  readonly cpu: CpuUsage | null;
  readonly memory: MemoryUsage | null;
  readonly writableLayer: FilesystemUsage | null;
  readonly swap: {
    readonly timestamp: number;
    readonly swapAvailableBytes: Value | null;
    readonly swapUsageBytes: Value | null;
  } | null;
  readonly io: IoUsage | null;
}
export interface ContainerStatsResponse {
  readonly stats: ContainerStats | null;
}
export interface ListContainerStatsRequest {
  readonly filter: { readonly id: string; readonly podSandboxId: string; readonly labelSelector: StringMap } | null;
}
export interface ListContainerStatsResponse {
  readonly stats: readonly ContainerStats[];
}
export interface NetworkInterfaceUsage {
  readonly name: string;
  readonly rxBytes: Value | null;
  readonly rxErrors: Value | null;
  readonly txBytes: Value | null;
  readonly txErrors: Value | null;
}
export interface PodSandboxStats {
  readonly attributes: {
    readonly id: string;
    readonly metadata: PodSandboxMetadata | null;
    readonly labels: StringMap;
    readonly annotations: StringMap;
  } | null;
  readonly linux: {
    readonly cpu: CpuUsage | null;
    readonly memory: MemoryUsage | null;
    readonly network: {
      readonly timestamp: number;
      readonly defaultInterface: NetworkInterfaceUsage | null;
      readonly interfaces: readonly NetworkInterfaceUsage[];
    } | null;
    readonly process: { readonly timestamp: number; readonly processCount: Value | null } | null;
    readonly containers: readonly ContainerStats[];
    readonly io: IoUsage | null;
  } | null;
}
export interface PodSandboxStatsResponse {
  readonly stats: PodSandboxStats | null;
}
export interface ListPodSandboxStatsRequest {
  readonly filter: { readonly id: string; readonly labelSelector: StringMap } | null;
}
export interface ListPodSandboxStatsResponse {
  readonly stats: readonly PodSandboxStats[];
}

export interface MetricDescriptor {
  readonly name: string;
  readonly help: string;
  readonly labelKeys: readonly string[];
}
export interface Metric {
  readonly name: string;
  /** Nanoseconds. */
  readonly timestamp: number;
  readonly metricType: 'COUNTER' | 'GAUGE';
  /** In the order of the descriptor's label keys. */
  readonly labelValues: readonly string[];
  readonly value: Value | null;
}
export interface PodSandboxMetrics {
  readonly podSandboxId: string;
  readonly metrics: readonly Metric[];
  readonly containerMetrics: readonly { readonly containerId: string; readonly metrics: readonly Metric[] }[];
}
export interface ListMetricDescriptorsResponse {
  readonly descriptors: readonly MetricDescriptor[];
}
export interface ListPodSandboxMetricsResponse {
  readonly podMetrics: readonly PodSandboxMetrics[];
}

export type ContainerEventType =
  | 'CONTAINER_CREATED_EVENT'
  | 'CONTAINER_STARTED_EVENT'
  | 'CONTAINER_STOPPED_EVENT'
  | 'CONTAINER_DELETED_EVENT';
export interface ContainerEvent {
  readonly containerId: Container['id'];
  readonly containerEventType: ContainerEventType;
  readonly createdAt: number;
  readonly podSandboxStatus: PodSandboxStatus | null;
  readonly containersStatuses: readonly ContainerStatus[];
}

export interface Image {
  /** `sha256:...` of the image configuration. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: number;
  readonly uid: Value | null;
  readonly username: string;
  readonly spec: ImageSpec | null;
  readonly pinned: boolean;
}
export interface ListImagesRequest {
  readonly filter: { readonly image: ImageSpec | null } | null;
}
export interface ListImagesResponse {
  readonly images: readonly Image[];
}
export interface ImageStatusRequest {
  readonly image: ImageSpec | null;
  readonly verbose: boolean;
}
export interface ImageStatusResponse {
  readonly image: Image | null;
  readonly info: StringMap;
}
export interface AuthConfig {
  readonly username: string;
  readonly password: string;
  readonly auth: string;
  readonly serverAddress: string;
  readonly identityToken: string;
  readonly registryToken: string;
}
export interface PullImageRequest {
  readonly image: ImageSpec | null;
  readonly auth: AuthConfig | null;
  readonly sandboxConfig: PodSandboxConfig | null;
}
export interface PullImageResponse {
  readonly imageRef: string;
}
export interface RemoveImageRequest {
  readonly image: ImageSpec | null;
}
export interface ImageFsInfoResponse {
  readonly imageFilesystems: readonly FilesystemUsage[];
  readonly containerFilesystems: readonly FilesystemUsage[];
}

// The streaming lists: each item in exactly one message.
export interface StreamPodSandboxesResponse {
  readonly podSandboxes: readonly PodSandbox[];
}
export interface StreamContainersResponse {
  readonly containers: readonly Container[];
}
export interface StreamContainerStatsResponse {
  readonly containerStats: readonly ContainerStats[];
}
export interface StreamPodSandboxStatsResponse {
  readonly podSandboxStats: readonly PodSandboxStats[];
}
export interface StreamPodSandboxMetricsResponse {
  readonly podSandboxMetrics: readonly PodSandboxMetrics[];
}
export interface StreamImagesResponse {
  readonly images: readonly Image[];
}
