// Which calls each service has, as types: the client offers them, a server implements them.
import type * as m from './messages.ts';
import type * as n from './node-messages.ts';
import type * as s from './stats-messages.ts';

/** One call: what it takes and what it answers. */
export interface Call<Request, Response> {
  readonly request: Request;
  readonly response: Response;
}

export interface RuntimeCalls {
  version: Call<m.VersionRequest, m.VersionResponse>;
  status: Call<m.StatusRequest, m.StatusResponse>;
  runtimeConfig: Call<m.Empty, m.RuntimeConfigResponse>;
  updateRuntimeConfig: Call<m.UpdateRuntimeConfigRequest, m.Empty>;
  runPodSandbox: Call<m.RunPodSandboxRequest, m.PodSandboxId>;
  stopPodSandbox: Call<m.PodSandboxId, m.Empty>;
  removePodSandbox: Call<m.PodSandboxId, m.Empty>;
  podSandboxStatus: Call<m.PodSandboxStatusRequest, m.PodSandboxStatusResponse>;
  listPodSandbox: Call<m.ListPodSandboxRequest, m.ListPodSandboxResponse>;
  createContainer: Call<m.CreateContainerRequest, m.ContainerId>;
  startContainer: Call<m.ContainerId, m.Empty>;
  stopContainer: Call<m.StopContainerRequest, m.Empty>;
  removeContainer: Call<m.ContainerId, m.Empty>;
  listContainers: Call<m.ListContainersRequest, m.ListContainersResponse>;
  containerStatus: Call<m.ContainerStatusRequest, m.ContainerStatusResponse>;
  updatePodSandboxResources: Call<m.UpdatePodSandboxResourcesRequest, m.Empty>;
  updateContainerResources: Call<m.UpdateContainerResourcesRequest, m.Empty>;
  reopenContainerLog: Call<m.ContainerId, m.Empty>;
  checkpointContainer: Call<m.CheckpointContainerRequest, m.Empty>;
  execSync: Call<m.ExecSyncRequest, m.ExecSyncResponse>;
  exec: Call<m.ExecRequest, m.UrlResponse>;
  attach: Call<m.AttachRequest, m.UrlResponse>;
  portForward: Call<m.PortForwardRequest, m.UrlResponse>;
  containerStats: Call<m.ContainerId, s.ContainerStatsResponse>;
  listContainerStats: Call<s.ListContainerStatsRequest, s.ListContainerStatsResponse>;
  podSandboxStats: Call<m.PodSandboxId, s.PodSandboxStatsResponse>;
  listPodSandboxStats: Call<s.ListPodSandboxStatsRequest, s.ListPodSandboxStatsResponse>;
  listMetricDescriptors: Call<m.Empty, s.ListMetricDescriptorsResponse>;
  listPodSandboxMetrics: Call<m.Empty, s.ListPodSandboxMetricsResponse>;
}
/** Calls whose answer is a stream of messages. */
export interface RuntimeStreams {
  getContainerEvents: Call<m.Empty, s.ContainerEvent>;
  streamPodSandboxes: Call<m.ListPodSandboxRequest, s.StreamPodSandboxesResponse>;
  streamContainers: Call<m.ListContainersRequest, s.StreamContainersResponse>;
  streamContainerStats: Call<s.ListContainerStatsRequest, s.StreamContainerStatsResponse>;
  streamPodSandboxStats: Call<s.ListPodSandboxStatsRequest, s.StreamPodSandboxStatsResponse>;
  streamPodSandboxMetrics: Call<m.Empty, s.StreamPodSandboxMetricsResponse>;
}

export interface ImageCalls {
  listImages: Call<s.ListImagesRequest, s.ListImagesResponse>;
  imageStatus: Call<s.ImageStatusRequest, s.ImageStatusResponse>;
  pullImage: Call<s.PullImageRequest, s.PullImageResponse>;
  removeImage: Call<s.RemoveImageRequest, m.Empty>;
  imageFsInfo: Call<m.Empty, s.ImageFsInfoResponse>;
}

export interface ImageStreams {
  streamImages: Call<s.ListImagesRequest, s.StreamImagesResponse>;
}

export interface NodeCalls {
  ensureNetwork: Call<{ readonly network: n.NetworkSpec | null }, { readonly bridge: string }>;
  removeNetwork: Call<{ readonly networkId: string }, m.Empty>;
  listNetworks: Call<m.Empty, { readonly networks: readonly n.NetworkSpec[] }>;
  attachNetwork: Call<
    { readonly sandboxId: string; readonly attachment: n.Attachment | null },
    { readonly interface: n.Interface | null }
  >;
  detachNetwork: Call<{ readonly sandboxId: string; readonly network: string }, m.Empty>;
  updatePorts: Call<
    { readonly sandboxId: string; readonly ports: readonly n.PublishedPort[] },
    { readonly ports: readonly n.PublishedPort[] }
  >;
  sandboxNetworkStatus: Call<
    { readonly sandboxId: string },
    { readonly interfaces: readonly n.Interface[]; readonly ports: readonly n.PublishedPort[] }
  >;
  setServices: Call<n.SetServicesRequest, { readonly conflicts: readonly n.PortConflict[] }>;
  awaitPeers: Call<{ readonly revision: number; readonly timeoutMs: number }, { readonly behind: readonly string[] }>;
  setNames: Call<n.SetNamesRequest, m.Empty>;
  setPeers: Call<n.SetPeersRequest, m.Empty>;
  importImage: Call<n.ImportImageRequest, { readonly imageId: string; readonly digest: string }>;
  importBlob: Call<{ readonly path: string; readonly digest: string }, m.Empty>;
  keepBlobs: Call<{ readonly digests: readonly string[] }, { readonly missing: readonly string[] }>;
  tagImage: Call<{ readonly image: string; readonly reference: string }, m.Empty>;
  untagImage: Call<{ readonly reference: string }, m.Empty>;
  imageHistory: Call<{ readonly image: string }, n.ImageHistoryResponse>;
  findBlob: Call<{ readonly digest: string }, n.FindBlobResponse>;
  inspectImage: Call<{ readonly image: string }, n.InspectImageResponse>;
  buildCache: Call<{ readonly prune: boolean; readonly keepBytes: number }, n.BuildCacheResponse>;
  pauseContainer: Call<m.ContainerId, m.Empty>;
  unpauseContainer: Call<m.ContainerId, m.Empty>;
  copyUp: Call<n.CopyUpRequest, { readonly copied: boolean }>;
  listRootFilesystems: Call<m.Empty, { readonly keys: readonly string[] }>;
  removeRootFilesystem: Call<{ readonly key: string }, m.Empty>;
  describe: Call<m.Empty, n.DescribeResponse>;
}
export interface NodeStreams {
  pushImage: Call<n.PushImageRequest, n.PushImageResponse>;
  exportImages: Call<n.ExportImagesRequest, { readonly data: Buffer }>;
  pullImageProgress: Call<n.PullImageProgressRequest, n.PullImageProgressResponse>;
  buildImage: Call<n.BuildImageRequest, n.BuildImageResponse>;
}

/** Signatures of the unary calls of a service on the client's side. */
export type UnaryClient<Calls> = {
  readonly [Name in keyof Calls]: Calls[Name] extends Call<infer Request, infer Response>
    ? (request: m.Draft<Request>, options?: CallOptions) => Promise<Response>
    : never;
};
/** Signatures of the streaming calls; ending the iteration cancels the call. */
export type StreamClient<Calls> = {
  readonly [Name in keyof Calls]: Calls[Name] extends Call<infer Request, infer Response>
    ? (request: m.Draft<Request>, options?: CallOptions) => AsyncIterable<Response>
    : never;
};
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Deadline of the call, sent along. Unary: 120 s unless said; streams: none unless said; 0 = none. */
  readonly timeoutMs?: number;
}

/** What an implementation knows of the call besides its request. */
export interface CallContext {
  /** Fires when the caller cancels, leaves, or its deadline passes. */
  readonly signal: AbortSignal;
}
/** An implementation of (part of) the unary calls; those left out answer Unimplemented. */
export type UnaryHandlers<Calls> = {
  readonly [Name in keyof Calls]?: Calls[Name] extends Call<infer Request, infer Response>
    ? (request: Request, context: CallContext) => Promise<m.Draft<Response>>
    : never;
};
export type StreamHandlers<Calls> = {
  readonly [Name in keyof Calls]?: Calls[Name] extends Call<infer Request, infer Response>
    ? (request: Request, context: CallContext) => AsyncIterable<m.Draft<Response>>
    : never;
};
