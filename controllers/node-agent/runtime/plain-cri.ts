// A runtime that speaks CRI alone (containerd, CRI-O), without our node service: what CRI can give instead, and by name
// what it cannot. Found out anew with each call that is answered Unimplemented: the socket may change hands.
import { RUNTIME_ANNOTATIONS } from '../../../cri/annotations.ts';
import type { CriClient } from '../../../cri/client.ts';
import { reasonOf, WindlassError } from '../../../lib/errors.ts';
import { parseImageConfig } from './image-config.ts';
import type {
  InspectedImage,
  NetworkAttachment,
  NodeRuntime,
  OciImageConfig,
  PublishedPort,
  RuntimeContainerConfig,
  SandboxConfig,
  SandboxNetwork,
} from './node-runtime.ts';

/** The Network that stands for the one network that the runtime itself connects every sandbox to. */
const OWN_NETWORK = 'default';
/** On a sandbox: JSON of the CRI port mappings it was asked for. */
const PORTS_ANNOTATION = 'windlass.dev/port-mappings';
const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/**
 * `runtime` with the calls of the node service answered by CRI where the other side has no such service. What CRI has no
 * word for is refused with reason Unimplemented and the field's name, before anything is made.
 */
export function toleratePlainCri(runtime: NodeRuntime, client: Pick<CriClient, 'runtime' | 'images'>): NodeRuntime {
  let isPlain: boolean | undefined;
  async function orElse<T>(call: Promise<T>, instead: () => Promise<T> | T): Promise<T> {
    try {
      const answer = await call;
      isPlain = false;
      return answer;
    } catch (error) {
      if (reasonOf(error) !== 'Unimplemented') throw error;
      isPlain = true;
      return instead();
    }
  }
  const describe = (): ReturnType<NodeRuntime['describe']> =>
    orElse(runtime.describe(), async () => ({
      instanceId: '',
      metricsAddress: '',
      ociRuntime: (await runtime.version()).name,
      features: [],
      encryptionKey: '',
      encryptionLacks: 'the container runtime has no overlays',
    }));
  async function refuse(what: string): Promise<never> {
    const { name } = await runtime.version();
    throw new WindlassError('Unimplemented', `the container runtime ${name} ${what}`);
  }
  /** Throws Unimplemented naming what `missing` finds, when the runtime has no node service. */
  async function requireNothing(missing: string[]): Promise<void> {
    if (missing.length === 0) return;
    if (isPlain === undefined) await describe();
    if (isPlain) await refuse(`has no ${missing.join(', no ')}`);
  }
  return {
    ...runtime,
    describe,
    async runSandbox(config) {
      await requireNothing([...missingForSandbox(config), ...(await missingFeatures(client, config))]);
      if (!isPlain) return runtime.runSandbox(config);
      // What is published is the runtime's secret from now on: it is written down where it can be read again.
      const ports = JSON.stringify(config.portMappings ?? []);
      return runtime.runSandbox({ ...config, annotations: { ...config.annotations, [PORTS_ANNOTATION]: ports } });
    },
    async createContainer(sandboxId, config, sandbox) {
      await requireNothing(missingForContainer(config));
      return runtime.createContainer(sandboxId, config, sandbox);
    },
    async updateResources(id, resources, annotations) {
      await requireNothing(missingForContainer({ annotations }));
      return runtime.updateResources(id, resources, isPlain ? {} : annotations);
    },
    inspectImage: (image) => orElse(runtime.inspectImage(image), () => inspectImage(client, image)),
    pullImage: (reference, credentials, onProgress, signal, peers) =>
      orElse(runtime.pullImage(reference, credentials, onProgress, signal, peers), () =>
        peers?.only
          ? refuse('cannot take an image from another node: push it to a registry')
          : runtime.pullImage(reference, credentials, undefined, signal),
      ),
    // Not by orElse(): our own runtime of the version before lacks this call and is no plain one.
    findBlob: (digest) =>
      runtime.findBlob(digest).catch((error: unknown) => {
        if (reasonOf(error) !== 'Unimplemented') throw error;
        return undefined;
      }),
    listRootFilesystems: () => orElse(runtime.listRootFilesystems(), () => []),
    removeRootFilesystem: (key) => orElse(runtime.removeRootFilesystem(key), () => undefined),
    copyUp: (image, imagePath, destination) =>
      orElse(runtime.copyUp(image, imagePath, destination), () =>
        refuse(`cannot copy ${imagePath} of the image into the new volume: set noCopy: true`),
      ),
    ensureNetwork: (network) =>
      orElse(runtime.ensureNetwork(network), () =>
        network.id.endsWith(`/${OWN_NETWORK}`)
          ? { bridge: '' }
          : refuse(`has one network of its own, "${OWN_NETWORK}", and no others`),
      ),
    attachNetwork: (sandboxId, attachment) =>
      orElse(runtime.attachNetwork(sandboxId, attachment), () => refuse('cannot connect a running container')),
    detachNetwork: (sandboxId, network) =>
      orElse(runtime.detachNetwork(sandboxId, network), () => refuse('cannot disconnect a running container')),
    updatePorts: (sandboxId, ports) =>
      orElse(runtime.updatePorts(sandboxId, ports), () => refuse('cannot change the ports of a running container')),
    pause: (id) => orElse(runtime.pause(id), () => refuse('cannot pause a container')),
    unpause: (id) => orElse(runtime.unpause(id), () => refuse('cannot resume a container')),
    importImage: (path, ...rest) =>
      orElse(runtime.importImage(path, ...rest), () => refuse('cannot import an image: push it to a registry')),
    buildImage: (...asked) => orElse(runtime.buildImage(...asked), () => refuse('cannot build an image')),
    importBlob: (...asked) => orElse(runtime.importBlob(...asked), () => refuse('cannot take in an archive')),
    keepBlobs: (digests) => orElse(runtime.keepBlobs(digests), () => digests),
    pushImage: (image, reference, ...rest) =>
      orElse(runtime.pushImage(image, reference, ...rest), () => refuse('cannot push an image')),
    untagImage: (reference) => orElse(runtime.untagImage(reference), () => undefined),
    tagImage: (image, reference) =>
      orElse(runtime.tagImage(image, reference), () => refuse('cannot give an image another reference')),
    setPeers: (id, peers) => orElse(runtime.setPeers(id, peers), () => undefined),
    removeNetwork: (id) => orElse(runtime.removeNetwork(id), () => undefined),
    listNetworks: () => orElse(runtime.listNetworks(), () => []),
    sandboxNetwork: (sandboxId) => orElse(runtime.sandboxNetwork(sandboxId), () => sandboxNetwork(client, sandboxId)),
    // Names resolve by what the runtime's own network has for that; nothing here answers for them.
    setNames: (networks) => orElse(runtime.setNames(networks), () => undefined),
    // Not by orElse(): our own runtime of the version before lacks this call and is no plain one.
    awaitPeers: (...asked) =>
      runtime.awaitPeers(...asked).catch((error: unknown) => {
        if (reasonOf(error) !== 'Unimplemented') throw error;
        return undefined;
      }),
    setServices: (services, ...rest) =>
      orElse(runtime.setServices(services, ...rest), () =>
        services.flatMap(({ id, ports }) =>
          ports
            .filter(({ publishedPort }) => publishedPort > 0)
            .map(({ protocol, publishedPort }) => ({ serviceId: id, protocol, port: publishedPort, holder: '' })),
        ),
      ),
  };
}

/** What a sandbox asks for in annotations that only our runtime reads. Pure. */
export function missingForSandbox({ annotations = {}, linux, portMappings = [] }: SandboxConfig): string[] {
  const options = linux?.securityContext?.namespaceOptions;
  const shmSize = annotations[RUNTIME_ANNOTATIONS.shmSize];
  return [
    ...(annotations[RUNTIME_ANNOTATIONS.hostAliases] ? ['hostAliases'] : []),
    ...(annotations[RUNTIME_ANNOTATIONS.domainname] ? ['domainname'] : []),
    ...(shmSize !== undefined && Number(shmSize) !== DEFAULT_SHM_BYTES ? ['shmSize'] : []),
    ...(options?.network === 'TARGET' || options?.ipc === 'TARGET'
      ? ['shareNamespaces with the network or ipc of another container']
      : []),
    ...(portMappings.some((port) => (port.hostPort ?? 0) === 0) ? ['choice of a free host port'] : []),
    ...missingNetworks(annotations[RUNTIME_ANNOTATIONS.attachments]),
  ];
}

/** A runtime that does not know the field would run root of the container as root of the host. */
async function missingFeatures({ runtime }: Pick<CriClient, 'runtime'>, { linux }: SandboxConfig): Promise<string[]> {
  if (!linux?.securityContext?.namespaceOptions?.usernsOptions) return [];
  const { runtimeHandlers } = await runtime.status({});
  const isKnown = runtimeHandlers.some(({ name, features }) => name === '' && features?.userNamespaces);
  return isKnown ? [] : ['user namespaces'];
}

function missingNetworks(text: string | undefined): string[] {
  const attachments = JSON.parse(text ?? '[]') as NetworkAttachment[];
  return [
    ...(attachments.some(({ ipv4Address }) => ipv4Address) ? ['fixed ipv4Address'] : []),
    ...(attachments.some(({ ipv6Address }) => ipv6Address) ? ['fixed ipv6Address'] : []),
    ...(attachments.some(({ macAddress }) => macAddress) ? ['fixed macAddress'] : []),
    ...(attachments.length > 1 ? ['second network for a container'] : []),
  ];
}

/** The same for a container. Pure. */
export function missingForContainer({ annotations = {} }: RuntimeContainerConfig): string[] {
  const fields = {
    tmpfs: 'tmpfs mounts',
    ulimits: 'ulimits',
    pidsLimit: 'resources.limits.pids',
    ephemeralStorage: 'resources.limits.ephemeral-storage',
    ephemeralInodes: 'resources.limits.inodes',
    init: 'init',
  } as const;
  const groups = JSON.parse(annotations[RUNTIME_ANNOTATIONS.groups] ?? '[]') as string[];
  return [
    ...Object.entries(fields).flatMap(([key, field]) =>
      annotations[RUNTIME_ANNOTATIONS[key as keyof typeof fields]] ? [field] : [],
    ),
    ...(groups.some((group) => !/^\d+$/.test(group)) ? ['groups by name'] : []),
    // Nobody would look whether the path has become a link since it was checked.
    ...(annotations[RUNTIME_ANNOTATIONS.noFollow] ? ['safe subPath mounts'] : []),
  ];
}

/** The image as ImageStatus describes it; its configuration is in the verbose answer of containerd and CRI-O. */
async function inspectImage({ images }: Pick<CriClient, 'images'>, name: string): Promise<InspectedImage | undefined> {
  const { image, info } = await images.imageStatus({ image: { image: name }, verbose: true });
  if (!image) return undefined;
  const { imageSpec = {} } = JSON.parse(info['info'] ?? '{}') as {
    imageSpec?: OciImageConfig & { architecture?: string; os?: string; variant?: string };
  };
  return {
    id: image.id,
    digest: image.repoDigests[0]?.split('@')[1] ?? '',
    references: image.repoTags,
    sizeBytes: image.size,
    layers: [],
    platform: [imageSpec.os, imageSpec.architecture, imageSpec.variant].filter(Boolean).join('/'),
    config: parseImageConfig(JSON.stringify(imageSpec)),
  };
}

async function sandboxNetwork({ runtime }: Pick<CriClient, 'runtime'>, podSandboxId: string): Promise<SandboxNetwork> {
  const { status } = await runtime.podSandboxStatus({ podSandboxId });
  const [attachment] = JSON.parse(status?.annotations[RUNTIME_ANNOTATIONS.attachments] ?? '[]') as {
    network: string;
  }[];
  const ipv4Address = status?.network?.ip ?? '';
  if (!attachment || ipv4Address === '') return { interfaces: [], ports: [] };
  return {
    interfaces: [{ network: attachment.network, name: 'eth0', ipv4Address, macAddress: '', gateway: '' }],
    ports: JSON.parse(status?.annotations[PORTS_ANNOTATION] ?? '[]') as PublishedPort[],
  };
}
