// What the agent asks of the runtime on its node, in the agent's own words; runtime/cri-runtime.ts speaks CRI.
import type { ContainerConfig, Draft, LinuxContainerResources, PodSandboxConfig } from '../../../cri/messages.ts';
import type { ImageHealthCheck } from '../health/health-check.ts';

/** What CRI takes, any part of it. */
export type SandboxConfig = Draft<PodSandboxConfig>;
export type RuntimeContainerConfig = Draft<ContainerConfig>;
export type LinuxResources = Draft<LinuxContainerResources>;

export interface SandboxState {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** UID of the Container it was made for. */
  readonly uid: string;
  readonly attempt: number;
  readonly isReady: boolean;
  readonly createdAtMs: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ContainerState {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: 'Created' | 'Running' | 'Exited' | 'Unknown';
  readonly createdAtMs: number;
  /** 0 = never. */
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly exitCode: number;
  /** Word of the runtime: Completed, Error, OOMKilled. */
  readonly reason: string;
  readonly message: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ContainerEvent {
  readonly kind: 'created' | 'started' | 'stopped' | 'deleted';
  readonly containerId: string;
  readonly sandbox: SandboxState | undefined;
  readonly containers: readonly ContainerState[];
}

export interface InspectedImage {
  readonly id: string;
  /** Digest of the manifest. */
  readonly digest: string;
  readonly references: readonly string[];
  readonly sizeBytes: number;
  readonly layers: readonly { readonly digest: string; readonly sizeBytes: number }[];
  readonly platform: string;
  readonly config: OciImageConfig;
}

/** The OCI image configuration with Docker's extensions, as far as it is read. */
export interface OciImageConfig {
  readonly created?: string;
  readonly config?: {
    readonly Entrypoint?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly Env?: readonly string[] | null;
    readonly User?: string;
    readonly WorkingDir?: string;
    readonly StopSignal?: string;
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
    readonly Volumes?: Readonly<Record<string, unknown>> | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Healthcheck?: ImageHealthCheck | null;
  };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly empty_layer?: boolean;
  }[];
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** OAuth2 refresh token, which a registry prefers to the password. */
  readonly identityToken?: string;
}

export interface PublishedPort {
  readonly protocol: 'TCP' | 'UDP';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export interface NetworkAttachment {
  readonly network: string;
  readonly ipv4Address?: string | undefined;
  readonly ipv6Address?: string | undefined;
  readonly macAddress?: string | undefined;
  readonly names: readonly string[];
}

export interface SandboxNetwork {
  readonly interfaces: readonly {
    readonly network: string;
    readonly name: string;
    readonly ipv4Address: string;
    readonly macAddress: string;
    readonly gateway: string;
    /** Null or absent: the network has none. */
    readonly ipv6?: { readonly address: string; readonly gateway: string } | null;
  }[];
  readonly ports: readonly PublishedPort[];
}

export interface NetworkDefinition {
  readonly id: string;
  readonly subnets: readonly { readonly cidr: string; readonly gateway: string; readonly ranges: readonly string[] }[];
  readonly internal: boolean;
  readonly isolated: boolean;
  readonly mtu: number;
  readonly domain: string;
  /** Absent: IPv4 alone. */
  readonly ipv6?: { readonly cidr: string; readonly gateway: string; readonly pool: string };
  /** Absent: the network ends at this node. */
  readonly overlay?: {
    readonly vni: number;
    readonly port: number;
    readonly underlayIp: string;
    readonly nodeIp: string;
    readonly nodeMac: string;
  };
}

/** What an overlay has on other nodes. */
export interface NetworkPeers {
  readonly hosts: readonly string[];
  readonly endpoints: readonly { readonly ip: string; readonly mac: string; readonly host: string }[];
}

export interface BalancedService {
  readonly id: string;
  readonly ports: readonly {
    readonly protocol: 'TCP' | 'UDP';
    readonly virtualIp: string;
    readonly port: number;
    readonly publishedPort: number;
    readonly backends: readonly {
      readonly id: string;
      readonly ip: string;
      readonly port: number;
      readonly isRemote: boolean;
      /** About to be stopped: only for what other nodes still send here. */
      readonly isDraining?: boolean;
      /** Of one on this node: where clients go that come to the published port by IPv6. */
      readonly ipv6?: string;
    }[];
    readonly sessionAffinity: boolean;
    readonly masquerade: boolean;
    /** Backends get the client's address in a PROXY protocol header. */
    readonly proxyHeader?: boolean;
  }[];
}

/** The network by which nodes hand on what arrives at published ports. */
export interface Ingress {
  readonly network: string;
  readonly ip: string;
  readonly peers: readonly { readonly ip: string; readonly mac: string; readonly hosts: readonly string[] }[];
}

export interface PortConflict {
  readonly serviceId: string;
  readonly protocol: string;
  readonly port: number;
  /** '' = free, but the runtime cannot balance Services. */
  readonly holder: string;
}

export interface NameRecord {
  readonly name: string;
  readonly ipv4Addresses: readonly string[];
  readonly ipv6Addresses: readonly string[];
}

export interface NetworkNames {
  readonly network: string;
  readonly records: readonly NameRecord[];
  /** Of endpoints on other nodes; those of this node may have the names too. */
  readonly elsewhere: readonly NameRecord[];
}

export interface TransferProgress {
  readonly completedBytes: number;
  readonly totalBytes: number;
}

export interface PullProgress extends TransferProgress {
  readonly phase: 'Resolving' | 'Pulling' | 'Unpacking' | 'Done';
}

/** A build of an image, as the runtime takes it. */
export interface ImageBuild {
  /** One build of a name at a time. */
  readonly id: string;
  readonly context:
    | { readonly kind: 'inline'; readonly files: Readonly<Record<string, string>> }
    | { readonly kind: 'hostPath'; readonly path: string }
    | { readonly kind: 'archive'; readonly digest: string }
    | { readonly kind: 'git'; readonly url: string };
  readonly dockerfile: string;
  readonly dockerfileInline?: string | undefined;
  readonly target?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly secrets: readonly { readonly id: string; readonly data: Buffer }[];
  readonly noCache: boolean;
  readonly pull: boolean;
  readonly platform?: string | undefined;
  readonly references: readonly string[];
  /** Id of the network of RUN instructions; absent = loopback alone. */
  readonly network?: string | undefined;
  readonly cacheFrom: readonly string[];
  readonly cacheTo?: string | undefined;
  readonly credentials: readonly (Credentials & { readonly registry: string })[];
}

export type BuildEvent =
  /** Whole lines of the log. */
  | { readonly kind: 'log'; readonly text: string }
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly instruction: string };

export interface BuildFailure {
  readonly message: string;
  /** '' when no instruction is to blame. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly instruction: string;
  /** False for what may go well the next time. */
  readonly isFinal: boolean;
  /** SecretNotFound for a secret that the build was not given, else the reason of the error. */
  readonly reason: string;
  /** Last lines of the command that failed. */
  readonly output: readonly string[];
  /** Reference in full of the image that could not be had; '' when that is not what failed. */
  readonly missingImage: string;
}

export type BuildOutcome =
  | {
      readonly kind: 'built';
      readonly digest: string;
      readonly cachedSteps: number;
      /** Of a git context; '' else. */
      readonly commit: string;
    }
  | ({ readonly kind: 'failed' } & BuildFailure);

/** Other nodes that are asked for an image before its registry. */
export interface PeerSource {
  /** Socket at which this agent answers for them. */
  readonly socket: string;
  /** Nodes that should have it. */
  readonly first: readonly string[];
  /** Of its manifest, where it is known what the reference means. */
  readonly digest?: string;
  /** No registry has it. */
  readonly only: boolean;
}

export interface ContainerUsage {
  readonly containerId: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cpuNanoSeconds: number;
  /** When the runtime read that; 0 = it does not say. */
  readonly cpuReadAtMs: number;
  readonly workingSetBytes: number;
  readonly usageBytes: number;
  readonly rssBytes: number;
  readonly writableBytes: number;
}

export interface SandboxUsage {
  readonly name: string;
  readonly namespace: string;
  readonly interfaces: readonly {
    readonly name: string;
    readonly rxBytes: number;
    readonly txBytes: number;
    readonly rxErrors: number;
    readonly txErrors: number;
  }[];
}

/**
 * Errors are WindlassErrors with the runtime's reason (NotFound, AlreadyExists, Unavailable, Unimplemented, ...).
 * Stop and remove succeed for what is already gone.
 */
export interface NodeRuntime {
  version(): Promise<{ name: string; version: string }>;
  /** `features`: what the runtime can do beyond CRI, e.g. `build`. */
  describe(): Promise<{
    instanceId: string;
    metricsAddress: string;
    ociRuntime: string;
    features: readonly string[];
  }>;
  list(): Promise<{ sandboxes: SandboxState[]; containers: ContainerState[] }>;
  /** Events until the runtime ends the stream or `signal` fires. */
  events(signal: AbortSignal): AsyncIterable<ContainerEvent>;
  runSandbox(config: SandboxConfig): Promise<string>;
  stopSandbox(id: string): Promise<void>;
  removeSandbox(id: string): Promise<void>;
  createContainer(sandboxId: string, config: RuntimeContainerConfig, sandbox: SandboxConfig): Promise<string>;
  startContainer(id: string): Promise<void>;
  stopContainer(id: string, graceSeconds: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  /** Keys of the writable layers that outlive their containers. */
  listRootFilesystems(): Promise<readonly string[]>;
  /** Conflict while a container has it. */
  removeRootFilesystem(key: string): Promise<void>;
  /** Undefined when the runtime does not know it. */
  containerStatus(id: string): Promise<ContainerState | undefined>;
  /** `annotations`: what CRI has no field for; an empty one takes the limit away. */
  updateResources(id: string, resources: LinuxResources, annotations: Readonly<Record<string, string>>): Promise<void>;
  reopenLog(id: string): Promise<void>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  execSync(
    id: string,
    command: readonly string[],
    timeoutSeconds: number,
    signal: AbortSignal,
  ): Promise<{ exitCode: number; output: string }>;
  /** URL of the runtime's streaming server for one exec. */
  exec(id: string, options: ExecOptions): Promise<string>;
  /** The same for one who follows the container's own first process. */
  attach(id: string, options: AttachOptions): Promise<string>;
  /** The same for connections to ports inside a sandbox: these, or any where none is named. */
  portForward(sandboxId: string, ports: readonly number[]): Promise<string>;
  inspectImage(image: string): Promise<InspectedImage | undefined>;
  pullImage(
    reference: string,
    credentials: Credentials | undefined,
    onProgress: ((progress: PullProgress) => void) | undefined,
    signal: AbortSignal,
    peers?: PeerSource,
  ): Promise<void>;
  /** A blob of an image on the node that other nodes may have; undefined for anything else. */
  findBlob(
    digest: string,
  ): Promise<{ readonly path: string; readonly sizeBytes: number; readonly mediaType: string } | undefined>;
  /** Pushes an image that is on the node (any name of it) as `reference`; gives the digest it has there. */
  pushImage(
    image: string,
    reference: string,
    credentials: Credentials | undefined,
    onProgress: (progress: TransferProgress) => void,
    signal: AbortSignal,
  ): Promise<string>;
  importImage(
    path: string,
    references: readonly string[],
    config: ImportConfig | undefined,
    signal: AbortSignal,
  ): Promise<{ id: string; digest: string }>;
  /**
   * Builds and names an image; the end of `signal` ends the build. The next event comes when onEvent() has resolved. What
   * the Dockerfile, its files or its commands are to blame for is an outcome, not an error.
   */
  buildImage(
    build: ImageBuild,
    options: { readonly onEvent: (event: BuildEvent) => Promise<void> | void; readonly signal: AbortSignal },
  ): Promise<BuildOutcome>;
  /** Takes in a file of the state folder as a blob that no image has; Invalid when its bytes have another digest. */
  importBlob(path: string, digest: string): Promise<void>;
  /** Declares all such blobs that are to be kept; resolves with those that are not on the node. */
  keepBlobs(digests: readonly string[]): Promise<readonly string[]>;
  tagImage(image: string, reference: string): Promise<void>;
  untagImage(reference: string): Promise<void>;
  copyUp(image: string, imagePath: string, destination: string): Promise<boolean>;
  ensureNetwork(network: NetworkDefinition): Promise<{ bridge: string }>;
  /** NotFound when the runtime has not got the network. */
  setPeers(networkId: string, peers: NetworkPeers): Promise<void>;
  removeNetwork(id: string): Promise<void>;
  listNetworks(): Promise<readonly string[]>;
  sandboxNetwork(sandboxId: string): Promise<SandboxNetwork>;
  attachNetwork(sandboxId: string, attachment: NetworkAttachment): Promise<void>;
  detachNetwork(sandboxId: string, network: string): Promise<void>;
  updatePorts(sandboxId: string, ports: readonly PublishedPort[]): Promise<void>;
  /** `ingress` is undefined where this node is alone or not on that network; `revision` is told to the other nodes. */
  setServices(
    services: readonly BalancedService[],
    ingress: Ingress | undefined,
    revision: number,
  ): Promise<readonly PortConflict[]>;
  /**
   * Waits until the other nodes' tables are as of `revision`; resolves with those that were not within the time, or with
   * undefined from a runtime that has no such call, and does not know draining backends.
   */
  awaitPeers(revision: number, timeoutMs: number): Promise<readonly string[] | undefined>;
  setNames(networks: readonly NetworkNames[]): Promise<void>;
  containerUsage(): Promise<ContainerUsage[]>;
  sandboxUsage(): Promise<SandboxUsage[]>;
}

export interface ExecOptions extends AttachOptions {
  readonly command: readonly string[];
}

export interface AttachOptions {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ImportConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal: string;
}
