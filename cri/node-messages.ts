// The messages of proto/node.proto as TypeScript; see messages.ts for the conventions.
import type { StringMap } from './messages.ts';

export interface Subnet {
  readonly cidr: string;
  readonly gateway: string;
  readonly ranges: readonly string[];
}
export interface NetworkSpec {
  readonly id: string;
  readonly subnets: readonly Subnet[];
  readonly internal: boolean;
  readonly isolated: boolean;
  readonly mtu: number;
  readonly domain: string;
  readonly overlay: Overlay | null;
  readonly ipv6: Ipv6 | null;
}
export interface Ipv6 {
  readonly cidr: string;
  readonly gateway: string;
  readonly pool: string;
}
export interface Overlay {
  readonly vni: number;
  readonly port: number;
  readonly underlayIp: string;
  readonly nodeIp: string;
  readonly nodeMac: string;
  readonly encryption: Encryption | null;
}
export interface Encryption {
  readonly ip: string;
  readonly port: number;
}
export interface SetPeersRequest {
  readonly networkId: string;
  readonly hosts: readonly string[];
  readonly endpoints: readonly { readonly ip: string; readonly mac: string; readonly host: string }[];
  readonly tunnels: readonly { readonly host: string; readonly ip: string; readonly publicKey: string }[];
}
export interface Attachment {
  readonly network: string;
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly macAddress: string;
  readonly names: readonly string[];
}
export interface Interface {
  readonly network: string;
  readonly name: string;
  readonly ipv4Address: string;
  readonly macAddress: string;
  readonly gateway: string;
  readonly prefixLength: number;
  readonly ipv6: InterfaceIpv6 | null;
}
export interface InterfaceIpv6 {
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
}
export interface PublishedPort {
  /** TCP or UDP. */
  readonly protocol: string;
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}
export interface ServicePort {
  /** TCP or UDP. */
  readonly protocol: string;
  readonly virtualIp: string;
  readonly port: number;
  readonly publishedPort: number;
  readonly backends: readonly ServiceBackend[];
  readonly sessionAffinity: boolean;
  /** Backends see this node as the client. */
  readonly masquerade: boolean;
  /** Of a published TCP port: backends get the client's address in a PROXY protocol header. */
  readonly proxyHeader: boolean;
}
export interface ServiceBackend {
  readonly ip: string;
  readonly port: number;
  /** The same on every node; '' = `ip:port`. */
  readonly id: string;
  /** `ip` and `port` are those by which another node takes in what is for its own backends. */
  readonly isRemote: boolean;
  /** It gets only what other nodes send here, and only where no other backend is here. */
  readonly isDraining: boolean;
  /** '' = none. */
  readonly ipv6: string;
}
export interface Ingress {
  /** '' = none. */
  readonly network: string;
  readonly ip: string;
  readonly peers: readonly { readonly ip: string; readonly mac: string; readonly hosts: readonly string[] }[];
}
export interface PortConflict {
  readonly serviceId: string;
  readonly protocol: string;
  readonly port: number;
  readonly holder: string;
}
export interface SetServicesRequest {
  readonly services: readonly { readonly id: string; readonly ports: readonly ServicePort[] }[];
  readonly ingress: Ingress;
  /** Of the cluster: told to the other nodes when all of this is in force. */
  readonly revision: number;
}
export interface SetNamesRequest {
  readonly networks: readonly {
    readonly network: string;
    readonly records: readonly NameRecord[];
    readonly elsewhere: readonly NameRecord[];
  }[];
}
export interface NameRecord {
  readonly name: string;
  readonly ipv4Addresses: readonly string[];
  readonly ipv6Addresses: readonly string[];
}
export interface ImageConfigOverride {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly labels: StringMap;
  readonly stopSignal: string;
}
export interface ImportImageRequest {
  readonly path: string;
  readonly references: readonly string[];
  readonly config: ImageConfigOverride | null;
}
export interface InspectImageResponse {
  readonly imageId: string;
  readonly digest: string;
  readonly references: readonly string[];
  readonly sizeBytes: number;
  readonly layers: readonly { readonly digest: string; readonly sizeBytes: number }[];
  readonly platform: string;
  readonly configJson: string;
}
export interface PullImageProgressRequest {
  readonly reference: string;
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
  readonly peers: PeerSource | null;
}
export interface PeerSource {
  /** Unix socket at which somebody answers for other nodes. */
  readonly socket: string;
  /** Nodes that should have the image. */
  readonly first: readonly string[];
  /** Digest of the manifest, where it is known; empty = the registry is asked. */
  readonly digest: string;
  /** No registry has this image. */
  readonly only: boolean;
}
export interface FindBlobResponse {
  readonly path: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
}
export interface PullImageProgressResponse {
  /** Resolving, Pulling, Unpacking, Done. */
  readonly phase: string;
  readonly completedBytes: number;
  readonly totalBytes: number;
  /** Set in the last message only. */
  readonly imageId: string;
}
export interface ImageHistoryResponse {
  readonly entries: readonly HistoryEntry[];
}
export interface HistoryEntry {
  readonly createdBy: string;
  readonly created: string;
  readonly comment: string;
  readonly sizeBytes: number;
  readonly emptyLayer: boolean;
  readonly layerDigest: string;
}
export interface PushImageRequest {
  readonly image: string;
  readonly reference: string;
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
}
export interface PushImageResponse {
  readonly phase: string;
  readonly completedBytes: number;
  readonly totalBytes: number;
  readonly layers: readonly PushedLayer[];
  readonly digest: string;
}
export interface PushedLayer {
  readonly digest: string;
  readonly state: string;
  readonly completedBytes: number;
  readonly totalBytes: number;
}
export interface ExportImagesRequest {
  readonly images: readonly string[];
  readonly format: string;
}
export interface CopyUpRequest {
  readonly image: string;
  readonly imagePath: string;
  readonly destination: string;
}
export interface DescribeResponse {
  readonly instanceId: string;
  readonly metricsAddress: string;
  readonly ociRuntime: string;
  /** `v1` or `v2`. */
  readonly cgroupVersion: string;
  readonly features: readonly string[];
  /** Base64; '' where the node cannot encrypt. */
  readonly encryptionKey: string;
  readonly encryptionLacks: string;
}

export interface BuildImageRequest {
  readonly id: string;
  readonly inlineFiles: StringMap;
  readonly hostPath: string;
  readonly archive: string;
  readonly git: string;
  readonly dockerfile: string;
  readonly dockerfileInline: string;
  readonly target: string;
  readonly args: StringMap;
  readonly labels: StringMap;
  readonly secrets: readonly { readonly id: string; readonly data: Buffer }[];
  readonly noCache: boolean;
  readonly pull: boolean;
  readonly platform: string;
  readonly references: readonly string[];
  readonly network: string;
  readonly cacheFrom: readonly string[];
  readonly cacheTo: string;
  readonly credentials: readonly RegistryCredentials[];
}
export interface RegistryCredentials {
  readonly registry: string;
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
}
export interface BuildImageResponse {
  readonly log: string;
  readonly step: number;
  readonly steps: number;
  readonly instruction: string;
  readonly image: BuiltImage | null;
  readonly failure: BuildFailure | null;
}
export interface BuiltImage {
  readonly imageId: string;
  readonly digest: string;
  readonly cachedSteps: number;
  readonly commit: string;
}
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
export interface BuildCacheResponse {
  readonly entries: number;
  readonly sizeBytes: number;
  readonly sharedBytes: number;
  readonly freedBytes: number;
}
