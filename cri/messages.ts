// The messages of proto/runtime.proto as TypeScript, as both sides see them after decoding: every field present, with
// proto3's zero value when it was not sent, and null for an absent message. 64-bit integers are numbers: times in
// nanoseconds therefore have a resolution of 256 ns, and "unlimited" sizes near 2^63 are rounded. Enums are their
// names. bytes are Buffers.

export type StringMap = Readonly<Record<string, string>>;

/** What a sender has to give: any part of a message, at any depth. */
export type Draft<T> = T extends string | number | boolean | null | Uint8Array
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Draft<Item>[]
    : { readonly [Key in keyof T]?: Draft<T[Key]> | undefined };

export type Empty = Readonly<Record<never, never>>;
export interface Value {
  readonly value: number;
}

export interface VersionRequest {
  readonly version: string;
}
export interface VersionResponse {
  readonly version: string;
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly runtimeApiVersion: string;
}

export interface RuntimeCondition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}
export interface RuntimeHandler {
  readonly name: string;
  readonly features: { readonly recursiveReadOnlyMounts: boolean; readonly userNamespaces: boolean } | null;
}
export interface StatusRequest {
  readonly verbose: boolean;
}
export interface StatusResponse {
  readonly status: { readonly conditions: readonly RuntimeCondition[] } | null;
  readonly info: StringMap;
  readonly runtimeHandlers: readonly RuntimeHandler[];
  readonly features: {
    readonly supplementalGroupsPolicy: boolean;
    readonly userNamespacesHostNetwork: boolean;
    readonly mountOptions: boolean;
  } | null;
}
export interface RuntimeConfigResponse {
  readonly linux: { readonly cgroupDriver: 'SYSTEMD' | 'CGROUPFS' } | null;
}
export interface UpdateRuntimeConfigRequest {
  readonly runtimeConfig: { readonly networkConfig: { readonly podCidr: string } | null } | null;
}

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';
export interface IdMapping {
  readonly hostId: number;
  readonly containerId: number;
  readonly length: number;
}
export interface NamespaceOption {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly targetId: string;
  readonly usernsOptions: {
    readonly mode: NamespaceMode;
    readonly uids: readonly IdMapping[];
    readonly gids: readonly IdMapping[];
  } | null;
}
export interface SecurityProfile {
  readonly profileType: 'RuntimeDefault' | 'Unconfined' | 'Localhost';
  readonly localhostRef: string;
}
export interface SelinuxOption {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}
export interface LinuxContainerResources {
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimitInBytes: number;
  readonly oomScoreAdj: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly hugepageLimits: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly unified: StringMap;
  readonly memorySwapLimitInBytes: number;
}
export interface ImageSpec {
  readonly image: string;
  readonly annotations: StringMap;
  readonly userSpecifiedImage: string;
  readonly runtimeHandler: string;
  readonly imageRef: string;
}

export interface PodSandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}
export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}
export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}
export type SupplementalGroupsPolicy = 'Merge' | 'Strict';
/** Nothing of Windows is read: its presence is all there is to see, and refused. */
export type WindowsPart = Empty | null;
export interface LinuxSandboxSecurityContext {
  readonly namespaceOptions: NamespaceOption | null;
  readonly selinuxOptions: SelinuxOption | null;
  readonly runAsUser: Value | null;
  readonly runAsGroup: Value | null;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: SupplementalGroupsPolicy;
  readonly privileged: boolean;
  readonly seccomp: SecurityProfile | null;
  readonly seccompProfilePath: string;
  readonly apparmor: SecurityProfile | null;
}
export interface LinuxPodSandboxConfig {
  readonly cgroupParent: string;
  readonly securityContext: LinuxSandboxSecurityContext | null;
  readonly sysctls: StringMap;
  readonly overhead: LinuxContainerResources | null;
  readonly resources: LinuxContainerResources | null;
}
export interface PodSandboxConfig {
  readonly metadata: PodSandboxMetadata | null;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dnsConfig: DnsConfig | null;
  readonly portMappings: readonly PortMapping[];
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly linux: LinuxPodSandboxConfig | null;
  readonly windows: WindowsPart;
}
export interface RunPodSandboxRequest {
  readonly config: PodSandboxConfig | null;
  readonly runtimeHandler: string;
}
export interface PodSandboxId {
  readonly podSandboxId: string;
}
export interface PodSandboxStatusRequest extends PodSandboxId {
  readonly verbose: boolean;
}
export type PodSandboxState = 'SANDBOX_READY' | 'SANDBOX_NOTREADY';
export interface PodSandbox {
  readonly id: string;
  readonly metadata: PodSandboxMetadata | null;
  readonly state: PodSandboxState;
  readonly createdAt: number;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly runtimeHandler: string;
}
export interface PodSandboxStatus extends PodSandbox {
  readonly network: { readonly ip: string; readonly additionalIps: readonly { readonly ip: string }[] } | null;
  readonly linux: { readonly namespaces: { readonly options: NamespaceOption | null } | null } | null;
}
export interface PodSandboxStatusResponse {
  readonly status: PodSandboxStatus | null;
  readonly info: StringMap;
  readonly containersStatuses: readonly ContainerStatus[];
  readonly timestamp: number;
}
export interface PodSandboxFilter {
  readonly id: string;
  readonly state: { readonly state: PodSandboxState } | null;
  readonly labelSelector: StringMap;
}
export interface ListPodSandboxRequest {
  readonly filter: PodSandboxFilter | null;
}
export interface ListPodSandboxResponse {
  readonly items: readonly PodSandbox[];
}

export interface ContainerMetadata {
  readonly name: string;
  readonly attempt: number;
}
export type MountPropagation = 'PROPAGATION_PRIVATE' | 'PROPAGATION_HOST_TO_CONTAINER' | 'PROPAGATION_BIDIRECTIONAL';
export interface Mount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly selinuxRelabel: boolean;
  readonly propagation: MountPropagation;
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
  readonly recursiveReadOnly: boolean;
  readonly image: ImageSpec | null;
  readonly imageSubPath: string;
  readonly mountOptions: readonly string[];
}
export interface Device {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly permissions: string;
}
export interface LinuxContainerSecurityContext {
  readonly capabilities: {
    readonly addCapabilities: readonly string[];
    readonly dropCapabilities: readonly string[];
    readonly addAmbientCapabilities: readonly string[];
  } | null;
  readonly privileged: boolean;
  readonly namespaceOptions: NamespaceOption | null;
  readonly selinuxOptions: SelinuxOption | null;
  readonly runAsUser: Value | null;
  readonly runAsGroup: Value | null;
  readonly runAsUsername: string;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: SupplementalGroupsPolicy;
  readonly noNewPrivs: boolean;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp: SecurityProfile | null;
  readonly apparmor: SecurityProfile | null;
  readonly apparmorProfile: string;
  readonly seccompProfilePath: string;
}
export interface ContainerConfig {
  readonly metadata: ContainerMetadata | null;
  readonly image: ImageSpec | null;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly envs: readonly { readonly key: string; readonly value: Buffer }[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly linux: {
    readonly resources: LinuxContainerResources | null;
    readonly securityContext: LinuxContainerSecurityContext | null;
  } | null;
  readonly windows: WindowsPart;
  readonly CDIDevices: readonly { readonly name: string }[];
  /** `SIGNAL_SIGTERM` and so on; `SIGNAL_RUNTIME_DEFAULT` = the image's. */
  readonly stopSignal: string;
}
export interface CreateContainerRequest {
  readonly podSandboxId: string;
  readonly config: ContainerConfig | null;
  readonly sandboxConfig: PodSandboxConfig | null;
}
export interface ContainerId {
  readonly containerId: string;
}
export interface StopContainerRequest extends ContainerId {
  readonly timeout: number;
}
export type ContainerState = 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN';
export interface Container {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: ContainerMetadata | null;
  readonly image: ImageSpec | null;
  readonly imageRef: string;
  readonly imageId: string;
  readonly state: ContainerState;
  readonly createdAt: number;
  readonly labels: StringMap;
  readonly annotations: StringMap;
}
export interface ListContainersRequest {
  readonly filter: {
    readonly id: string;
    readonly state: { readonly state: ContainerState } | null;
    readonly podSandboxId: string;
    readonly labelSelector: StringMap;
  } | null;
}
export interface ListContainersResponse {
  readonly containers: readonly Container[];
}
export interface ContainerStatusRequest extends ContainerId {
  readonly verbose: boolean;
}
export interface ContainerStatus {
  readonly id: string;
  readonly metadata: ContainerMetadata | null;
  readonly state: ContainerState;
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly image: ImageSpec | null;
  readonly imageRef: string;
  readonly imageId: string;
  readonly reason: string;
  readonly message: string;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly mounts: readonly Mount[];
  readonly logPath: string;
  readonly resources: { readonly linux: LinuxContainerResources | null } | null;
  readonly user: {
    readonly linux: {
      readonly uid: number;
      readonly gid: number;
      readonly supplementalGroups: readonly number[];
    } | null;
  } | null;
  readonly stopSignal: string;
}
export interface ContainerStatusResponse {
  readonly status: ContainerStatus | null;
  readonly info: StringMap;
}
export interface UpdateContainerResourcesRequest extends ContainerId {
  readonly linux: LinuxContainerResources | null;
  readonly windows: WindowsPart;
  readonly annotations: StringMap;
}
export interface UpdatePodSandboxResourcesRequest extends PodSandboxId {
  readonly overhead: LinuxContainerResources | null;
  readonly resources: LinuxContainerResources | null;
}
export interface CheckpointContainerRequest extends ContainerId {
  readonly location: string;
  /** Seconds; 0 = the runtime's own limit. */
  readonly timeout: number;
}

export interface ExecSyncRequest extends ContainerId {
  readonly cmd: readonly string[];
  readonly timeout: number;
}
export interface ExecSyncResponse {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}
export interface ExecRequest extends ContainerId {
  readonly cmd: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}
export interface AttachRequest extends ContainerId {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}
export interface PortForwardRequest extends PodSandboxId {
  readonly port: readonly number[];
}
export interface UrlResponse {
  readonly url: string;
}
