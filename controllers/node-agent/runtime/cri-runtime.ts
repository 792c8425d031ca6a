// NodeRuntime over CRI v1 and our node service; the only file of the agent that knows their messages.
import type { CriClient } from '../../../cri/client.ts';
import type { Container, ContainerStatus, Draft, PodSandbox } from '../../../cri/messages.ts';
import type { ContainerEvent as CriEvent } from '../../../cri/stats-messages.ts';
import type { BuildImageRequest } from '../../../cri/node-messages.ts';
import { isNotFound, WindlassError } from '../../../lib/errors.ts';
import type { ImageBuild } from './image-build.ts';
import { parseImageConfig } from './image-config.ts';
import type {
  Ingress,
  ContainerEvent,
  ContainerState,
  NodeRuntime,
  PublishedPort,
  PullProgress,
  SandboxState,
} from './node-runtime.ts';
import type { RuntimeMetrics } from './runtime-metrics.ts';
import { toContainerUsage, toSandboxUsage } from './usage.ts';

/** Time the runtime gets beyond a container's grace period before the call is given up. */
const STOP_SLACK_MS = 30_000;
const EXEC_SLACK_MS = 5000;

const NS_PER_MS = 1e6;

const NO_INGRESS: Ingress = { network: '', ip: '', peers: [] };

/** Speaks to the runtime through `client`; every call is counted in `metrics`. */
export function createCriRuntime(client: CriClient, metrics: RuntimeMetrics): NodeRuntime {
  const { runtime, images, node } = client;
  const timed = metrics.measure;
  return {
    version: () =>
      timed('version', async () => {
        const answer = await runtime.version({});
        return { name: answer.runtimeName, version: answer.runtimeVersion };
      }),
    describe: () => timed('describe', () => node.describe({})),
    list: () =>
      timed('list', async () => {
        const [sandboxes, containers] = await Promise.all([runtime.listPodSandbox({}), runtime.listContainers({})]);
        return {
          sandboxes: sandboxes.items.map(toSandboxState),
          // The list lacks times and exit codes, which only ended and running containers have.
          containers: await Promise.all(containers.containers.map((container) => withStatus(client, container))),
        };
      }),
    async *events(signal) {
      for await (const event of runtime.getContainerEvents({}, { signal })) yield toEvent(event);
    },
    runSandbox: (config) =>
      timed(
        'run_podsandbox',
        async () => (await runtime.runPodSandbox({ config }, { timeoutMs: 240_000 })).podSandboxId,
      ),
    stopSandbox: (podSandboxId) => timed('stop_podsandbox', () => ignoreGone(runtime.stopPodSandbox({ podSandboxId }))),
    removeSandbox: (podSandboxId) =>
      timed('remove_podsandbox', () => ignoreGone(runtime.removePodSandbox({ podSandboxId }))),
    createContainer: (podSandboxId, config, sandboxConfig) =>
      timed(
        'create_container',
        async () => (await runtime.createContainer({ podSandboxId, config, sandboxConfig })).containerId,
      ),
    startContainer: (containerId) =>
      timed('start_container', async () => void (await runtime.startContainer({ containerId }))),
    stopContainer: (containerId, graceSeconds) =>
      timed('stop_container', () =>
        ignoreGone(
          runtime.stopContainer(
            { containerId, timeout: graceSeconds },
            { timeoutMs: graceSeconds * 1000 + STOP_SLACK_MS },
          ),
        ),
      ),
    removeContainer: (containerId) =>
      timed('remove_container', () => ignoreGone(runtime.removeContainer({ containerId }))),
    containerStatus: (containerId) =>
      timed('container_status', async () => {
        try {
          const { status } = await runtime.containerStatus({ containerId });
          return status ? toContainerState(status, '') : undefined;
        } catch (error) {
          if (isNotFound(error)) return undefined;
          throw error;
        }
      }),
    updateResources: (containerId, linux, annotations) =>
      timed(
        'update_container',
        async () => void (await runtime.updateContainerResources({ containerId, linux, annotations })),
      ),
    reopenLog: (containerId) =>
      timed('reopen_container_log', async () => void (await runtime.reopenContainerLog({ containerId }))),
    pause: (containerId) => timed('pause_container', async () => void (await node.pauseContainer({ containerId }))),
    unpause: (containerId) =>
      timed('unpause_container', async () => void (await node.unpauseContainer({ containerId }))),
    execSync: (containerId, cmd, timeoutSeconds, signal) =>
      timed('exec_sync', async () => {
        const answer = await runtime.execSync(
          { containerId, cmd, timeout: timeoutSeconds },
          { signal, timeoutMs: timeoutSeconds * 1000 + EXEC_SLACK_MS },
        );
        return {
          exitCode: answer.exitCode,
          output: `${answer.stdout.toString('utf8')}${answer.stderr.toString('utf8')}`,
        };
      }),
    exec: (containerId, { command, ...streams }) =>
      timed('exec', async () => (await runtime.exec({ containerId, cmd: command, ...streams })).url),
    attach: (containerId, streams) =>
      timed('attach', async () => (await runtime.attach({ containerId, ...streams })).url),
    portForward: (podSandboxId, port) =>
      timed('port_forward', async () => (await runtime.portForward({ podSandboxId, port })).url),
    inspectImage: (image) =>
      timed('image_status', async () => {
        try {
          const answer = await node.inspectImage({ image });
          return { ...answer, id: answer.imageId, config: parseImageConfig(answer.configJson) };
        } catch (error) {
          if (isNotFound(error)) return undefined;
          throw error;
        }
      }),
    pullImage: (reference, credentials, onProgress, signal, peers) =>
      timed('pull_image', async () => {
        if (!onProgress) {
          await images.pullImage({ image: { image: reference }, auth: credentials ?? null }, { signal, timeoutMs: 0 });
          return;
        }
        const stream = node.pullImageProgress({ reference, ...credentials, peers: peers ?? null }, { signal });
        for await (const progress of stream)
          onProgress({ ...progress, phase: progress.phase as PullProgress['phase'] });
      }),
    findBlob: (digest) =>
      timed('find_blob', async () => {
        try {
          return await node.findBlob({ digest });
        } catch (error) {
          if (isNotFound(error)) return undefined;
          throw error;
        }
      }),
    pushImage: (image, reference, credentials, onProgress, signal) =>
      timed('push_image', async () => {
        const stream = node.pushImage({ image, reference, ...credentials }, { signal });
        let pushed = '';
        for await (const { completedBytes, totalBytes, digest } of stream) {
          onProgress({ completedBytes, totalBytes });
          pushed = digest;
        }
        return pushed;
      }),
    importImage: (path, references, config, signal) =>
      timed('import_image', async () => {
        const answer = await node.importImage({ path, references, config: config ?? null }, { signal, timeoutMs: 0 });
        return { id: answer.imageId, digest: answer.digest };
      }),
    buildImage: (build, { onEvent, signal }) =>
      timed('build_image', async () => {
        for await (const message of node.buildImage(toBuildRequest(build), { signal })) {
          const { step, steps, instruction, log, image, failure } = message;
          if (step > 0) await onEvent({ kind: 'step', step, steps, instruction });
          if (log !== '') await onEvent({ kind: 'log', text: log });
          if (image) return { kind: 'built' as const, ...image };
          if (failure) return { kind: 'failed' as const, ...failure };
        }
        throw new WindlassError('Unavailable', 'the container runtime ended the build without a result');
      }),
    importBlob: (path, digest) =>
      timed('import_blob', async () => void (await node.importBlob({ path, digest }, { timeoutMs: 0 }))),
    keepBlobs: (digests) => timed('keep_blobs', async () => (await node.keepBlobs({ digests })).missing),
    tagImage: (image, reference) => timed('tag_image', async () => void (await node.tagImage({ image, reference }))),
    untagImage: (reference) => timed('untag_image', () => ignoreGone(node.untagImage({ reference }))),
    copyUp: (image, imagePath, destination) =>
      timed('copy_up', async () => (await node.copyUp({ image, imagePath, destination }, { timeoutMs: 0 })).copied),
    listRootFilesystems: () => timed('list_root_filesystems', async () => (await node.listRootFilesystems({})).keys),
    removeRootFilesystem: (key) =>
      timed('remove_root_filesystem', async () => void (await node.removeRootFilesystem({ key }))),
    ensureNetwork: (network) => timed('ensure_network', () => node.ensureNetwork({ network })),
    removeNetwork: (networkId) => timed('remove_network', () => ignoreGone(node.removeNetwork({ networkId }))),
    listNetworks: () =>
      timed('list_networks', async () => (await node.listNetworks({})).networks.map((network) => network.id)),
    sandboxNetwork: (sandboxId) =>
      timed('sandbox_network_status', async () => {
        const answer = await node.sandboxNetworkStatus({ sandboxId });
        return { interfaces: answer.interfaces, ports: answer.ports as readonly PublishedPort[] };
      }),
    attachNetwork: (sandboxId, attachment) =>
      timed('attach_network', async () => void (await node.attachNetwork({ sandboxId, attachment }))),
    detachNetwork: (sandboxId, network) =>
      timed('detach_network', () => ignoreGone(node.detachNetwork({ sandboxId, network }))),
    updatePorts: (sandboxId, ports) =>
      timed('update_ports', async () => void (await node.updatePorts({ sandboxId, ports }))),
    setServices: (services, ingress = NO_INGRESS, revision) =>
      timed('set_services', async () => (await node.setServices({ services, ingress, revision })).conflicts),
    awaitPeers: (revision, timeoutMs) =>
      timed('await_peers', async () => (await node.awaitPeers({ revision, timeoutMs })).behind),
    setPeers: (networkId, peers) => timed('set_peers', async () => void (await node.setPeers({ networkId, ...peers }))),
    setNames: (networks) => timed('set_names', async () => void (await node.setNames({ networks }))),
    containerUsage: () =>
      timed('list_container_stats', async () => (await runtime.listContainerStats({})).stats.map(toContainerUsage)),
    sandboxUsage: () =>
      timed('list_podsandbox_stats', async () => (await runtime.listPodSandboxStats({})).stats.map(toSandboxUsage)),
  };
}

function toBuildRequest({ context, dockerfileInline, target, platform, network, cacheTo, ...same }: ImageBuild) {
  const request: Draft<BuildImageRequest> = {
    ...same,
    ...(context.kind === 'inline' ? { inlineFiles: context.files } : {}),
    ...(context.kind === 'hostPath' ? { hostPath: context.path } : {}),
    ...(context.kind === 'archive' ? { archive: context.digest } : {}),
    ...(context.kind === 'git' ? { git: context.url } : {}),
    dockerfileInline: dockerfileInline ?? '',
    target: target ?? '',
    platform: platform ?? '',
    network: network ?? '',
    cacheTo: cacheTo ?? '',
  };
  return request;
}

async function withStatus({ runtime }: CriClient, container: Container): Promise<ContainerState> {
  try {
    const { status } = await runtime.containerStatus({ containerId: container.id });
    if (status) return { ...toContainerState(status, container.podSandboxId) };
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return {
    id: container.id,
    sandboxId: container.podSandboxId,
    name: container.metadata?.name ?? '',
    attempt: container.metadata?.attempt ?? 0,
    state: 'Unknown',
    createdAtMs: container.createdAt / NS_PER_MS,
    startedAtMs: 0,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    annotations: container.annotations,
  };
}

async function ignoreGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function toSandboxState(sandbox: PodSandbox): SandboxState {
  return {
    id: sandbox.id,
    namespace: sandbox.metadata?.namespace ?? '',
    name: sandbox.metadata?.name ?? '',
    uid: sandbox.metadata?.uid ?? '',
    attempt: sandbox.metadata?.attempt ?? 0,
    isReady: sandbox.state === 'SANDBOX_READY',
    createdAtMs: sandbox.createdAt / NS_PER_MS,
    annotations: sandbox.annotations,
    labels: sandbox.labels,
  };
}

const STATES = {
  CONTAINER_CREATED: 'Created',
  CONTAINER_RUNNING: 'Running',
  CONTAINER_EXITED: 'Exited',
  CONTAINER_UNKNOWN: 'Unknown',
} as const;

function toContainerState(status: ContainerStatus, sandboxId: string): ContainerState {
  return {
    id: status.id,
    sandboxId,
    name: status.metadata?.name ?? '',
    attempt: status.metadata?.attempt ?? 0,
    state: STATES[status.state],
    createdAtMs: status.createdAt / NS_PER_MS,
    startedAtMs: status.startedAt / NS_PER_MS,
    finishedAtMs: status.finishedAt / NS_PER_MS,
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    annotations: status.annotations,
  };
}

const EVENT_KINDS = {
  CONTAINER_CREATED_EVENT: 'created',
  CONTAINER_STARTED_EVENT: 'started',
  CONTAINER_STOPPED_EVENT: 'stopped',
  CONTAINER_DELETED_EVENT: 'deleted',
} as const;

function toEvent(event: CriEvent): ContainerEvent {
  const sandbox = event.podSandboxStatus;
  return {
    kind: EVENT_KINDS[event.containerEventType],
    containerId: event.containerId,
    sandbox: sandbox ? toSandboxState(sandbox) : undefined,
    containers: event.containersStatuses.map((status) => toContainerState(status, sandbox?.id ?? '')),
  };
}
