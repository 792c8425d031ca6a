// NodeService: what windlass asks of its runtime beyond CRI.
import type { Draft } from '../../cri/messages.ts';
import type {
  Attachment,
  ImageConfigOverride,
  Ingress,
  Ipv6,
  NameRecord,
  NetworkSpec,
  PublishedPort,
  ServicePort,
} from '../../cri/node-messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { NodeCalls, NodeStreams, StreamHandlers, UnaryHandlers } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import type {
  Attachment as NetworkAttachment,
  IngressSpec,
  NetworkIpv6,
  NetworkSpec as NodeNetworkSpec,
  PublishedPort as NodePort,
  ServicePort as NodeServicePort,
} from '../network/node-network.ts';
import type { ImageBuilder } from '../images/image-builder.ts';
import type { ImageRecord } from '../images/image-service.ts';
import { overlayMtu } from '../network/overlay.ts';
import { uplinkMtu } from '../network/uplink-mtu.ts';
import { requireDiskSpace } from '../storage/disk-reserve.ts';
import { toAddress, toHostIp } from './addresses.ts';
import { buildCache, buildImage } from './build-image.ts';
import { copyUp } from './copy-up.ts';
import type { Shim } from './deps.ts';
import { findBlob, findImage, getRunningContainer, getSandbox } from './lookup.ts';
import { pullImageProgress } from './pull-progress.ts';
import { exportImages, imageHistory, pushImage } from './transfer-images.ts';
import { listRootFilesystems, removeRootFilesystem } from './root-filesystem.ts';

const FREEZE_MS = 30_000;
const FEATURES = [
  'networks',
  'overlay',
  'ipv6',
  'ports',
  'services',
  'names',
  'import',
  'archives',
  'export',
  'push',
  'history',
  'pause',
  'copy-up',
  'pull-progress',
  'peers',
  'rootfs-keys',
];

const toNames = (records: readonly NameRecord[]): Map<string, readonly string[]> =>
  new Map(
    records.map(({ name, ipv4Addresses, ipv6Addresses }) => [
      name.toLowerCase(),
      [...ipv4Addresses, ...ipv6Addresses.map(toAddress)],
    ]),
  );

const toIngress = ({ network, ip, peers }: Ingress): IngressSpec => ({
  ...{ network, ip: requireField(ip, 'ingress.ip'), peers },
});

function toServicePort({ masquerade, proxyHeader, ...port }: ServicePort): NodeServicePort {
  return {
    ...port,
    protocol: toProtocol(port.protocol),
    backends: port.backends.map(({ ipv6, ...backend }) => ({
      ...{ ...backend, id: backend.id || `${backend.ip}:${backend.port}` },
      ...(ipv6 && { ipv6: toAddress(ipv6) }),
    })),
    clientAddress: proxyHeader ? 'ProxyProtocol' : masquerade ? 'Masquerade' : 'Preserve',
  };
}

/** Handlers of the service; without a builder nothing can be built. */
export function createNodeHandlers(
  shim: Shim,
  builder?: ImageBuilder,
): UnaryHandlers<NodeCalls> & StreamHandlers<NodeStreams> {
  const { network, images } = shim;
  return {
    ensureNetwork: async (request) => network.ensureNetwork(checkNetwork(requireField(request.network, 'network'))),
    setPeers: async ({ networkId, hosts, endpoints, tunnels }) => {
      await network.setPeers(requireField(networkId, 'network_id'), {
        hosts: hosts.map(toAddress),
        endpoints: endpoints.map(({ ip, mac, host }) => ({
          ...{ ip: toAddress(ip), mac: mac.toLowerCase(), host: toAddress(host) },
        })),
        ...(tunnels.length > 0
          ? { tunnels: tunnels.map((end) => ({ ...end, host: toAddress(end.host), ip: toAddress(end.ip) })) }
          : {}),
      });
      return {};
    },
    removeNetwork: async ({ networkId }) => {
      await network.removeNetwork(requireField(networkId, 'network_id'));
      return {};
    },
    listNetworks: async () => ({ networks: network.listNetworks() }),
    // In the sandbox's queue: a stop that came between would leave links and addresses of a sandbox that is gone.
    attachNetwork: async ({ sandboxId, attachment }) => ({
      interface: await shim.queue.run(getSandbox(shim, sandboxId).id, () =>
        network.attachNetwork(readySandbox(shim, sandboxId), toAttachment(requireField(attachment, 'attachment'))),
      ),
    }),
    detachNetwork: async ({ sandboxId, network: networkId }) => {
      const { id } = getSandbox(shim, sandboxId);
      await shim.queue.run(id, () => network.detachNetwork(id, requireField(networkId, 'network')));
      return {};
    },
    updatePorts: async ({ sandboxId, ports }) => ({
      ports: await shim.queue.run(getSandbox(shim, sandboxId).id, () =>
        network.updatePorts(readySandbox(shim, sandboxId), ports.map(toPort)),
      ),
    }),
    sandboxNetworkStatus: async ({ sandboxId }) => {
      const record = getSandbox(shim, sandboxId);
      return network.sandboxStatus(record.networkOf ?? record.id) ?? { interfaces: [], ports: [] };
    },
    setServices: async ({ services, ingress, revision }) => ({
      conflicts: await network.setServices(
        services.map((service) => ({
          id: requireField(service.id, 'services.id'),
          ports: service.ports.map(toServicePort),
        })),
        ingress?.network ? toIngress(ingress) : undefined,
        revision,
      ),
    }),
    awaitPeers: async ({ revision, timeoutMs }) => ({ behind: await network.awaitPeers(revision, timeoutMs) }),
    setNames: async ({ networks }) => {
      network.setNames(
        new Map(
          networks.map(({ network: id, records, elsewhere }) => [
            id,
            { names: toNames(records), elsewhere: toNames(elsewhere) },
          ]),
        ),
      );
      return {};
    },
    importImage: async ({ path, references, config }, { signal }) => {
      requireDiskSpace(shim.instance.home, shim.storage.reserve, 'an image');
      const image = await images.import(requireField(path, 'path'), {
        references,
        ...(config ? { config: toRunConfig(config) } : {}),
        signal,
      });
      return { imageId: image.id, digest: image.manifestDigest };
    },
    importBlob: async ({ path, digest }) => {
      await images.importBlob(requireField(path, 'path'), requireField(digest, 'digest'));
      return {};
    },
    keepBlobs: async ({ digests }) => ({ missing: await images.keepBlobs(digests) }),
    tagImage: async ({ image, reference }) => {
      await images.tag(requireField(image, 'image'), requireField(reference, 'reference'));
      return {};
    },
    untagImage: async ({ reference }) => {
      await images.untag(requireField(reference, 'reference'));
      return {};
    },
    imageHistory: async ({ image }) => imageHistory(shim, image),
    findBlob: async ({ digest }) => findBlob(shim, digest),
    inspectImage: async ({ image }) => describeImage(findImage(shim, image)),
    ...(builder ? { buildCache: (request) => buildCache({ builder, shim }, request) } : {}),
    pauseContainer: async ({ containerId }) => {
      const { cgroupsPath } = getRunningContainer(shim, containerId);
      await shim.cgroups.freeze(cgroupsPath, AbortSignal.timeout(FREEZE_MS));
      return {};
    },
    unpauseContainer: async ({ containerId }) => {
      shim.cgroups.thaw(getRunningContainer(shim, containerId).cgroupsPath);
      return {};
    },
    copyUp: async (request) => copyUp(shim, request),
    listRootFilesystems: async () => ({ keys: listRootFilesystems(shim) }),
    removeRootFilesystem: async ({ key }) => {
      await removeRootFilesystem(shim, requireField(key, 'key'));
      return {};
    },
    describe: async () => {
      const encryption = shim.network.encryption();
      return {
        instanceId: shim.instance.id,
        metricsAddress: shim.metricsAddress,
        ociRuntime: shim.runtime.kind,
        cgroupVersion: shim.cgroups.version,
        features: builder ? [...FEATURES, 'build'] : FEATURES,
        encryptionKey: 'publicKey' in encryption ? encryption.publicKey : '',
        encryptionLacks: 'lacks' in encryption ? encryption.lacks : '',
      };
    },
    pullImageProgress: (request, context) => pullImageProgress(shim, request, context),
    pushImage: (request, context) => pushImage(shim, request, context),
    ...(builder ? { buildImage: (request, context) => buildImage({ builder, shim }, request, context) } : {}),
    exportImages: (request, context) => exportImages(shim, request, context),
  };
}

function readySandbox(shim: Shim, id: string): string {
  const record = getSandbox(shim, id);
  if (record.phase !== 'ready') throw new WindlassError('Conflict', `sandbox ${record.id} is not ready`);
  if (record.networkOf !== undefined || record.namespaces.net === undefined) {
    throw new WindlassError('Conflict', `sandbox ${record.id} has no network of its own`);
  }
  return record.id;
}

function checkNetwork({ overlay, ipv6, ...rest }: NetworkSpec): NodeNetworkSpec {
  requireField(rest.id, 'network.id');
  const spec = { ...rest, ...(ipv6 ? { ipv6: toIpv6(ipv6) } : {}) };
  if (!overlay) return { ...spec, mtu: spec.mtu || uplinkMtu() };
  const underlayIp = toAddress(requireField(overlay.underlayIp, 'network.overlay.underlay_ip'));
  const nodeMac = overlay.nodeMac.toLowerCase();
  const { encryption, ...inClear } = overlay;
  const sealed = encryption ? { encryption: { ...encryption, ip: toAddress(encryption.ip) } } : {};
  return {
    ...spec,
    mtu: overlayMtu(underlayIp, spec.mtu, { isEncrypted: encryption !== null }),
    overlay: { ...inClear, underlayIp, nodeMac, ...sealed },
  };
}

const toIpv6 = ({ cidr, gateway, pool }: Ipv6): NetworkIpv6 => ({
  ...{ cidr, pool: pool || cidr, gateway: toAddress(requireField(gateway, 'network.ipv6.gateway')) },
});

function toAttachment({ network, ipv4Address, ipv6Address, macAddress, names }: Attachment): NetworkAttachment {
  return {
    network: requireField(network, 'attachment.network'),
    ...(ipv4Address ? { ipv4Address } : {}),
    ...(ipv6Address ? { ipv6Address } : {}),
    ...(macAddress ? { macAddress } : {}),
    names,
  };
}

function toProtocol(protocol: string): 'TCP' | 'UDP' {
  if (protocol !== 'TCP' && protocol !== 'UDP') {
    throw new WindlassError('Invalid', `protocol: want TCP or UDP, not ${JSON.stringify(protocol)}`);
  }
  return protocol;
}

const toPort = (port: PublishedPort): NodePort => ({
  ...{ ...port, protocol: toProtocol(port.protocol), hostIp: toHostIp(port.hostIp, 'ports.host_ip') },
});

function toRunConfig(config: ImageConfigOverride): ImageRecord['config']['config'] {
  const keys = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, {}]));
  return {
    ...(config.entrypoint.length > 0 ? { Entrypoint: [...config.entrypoint] } : {}),
    ...(config.cmd.length > 0 ? { Cmd: [...config.cmd] } : {}),
    ...(config.env.length > 0 ? { Env: [...config.env] } : {}),
    ...(config.workingDir ? { WorkingDir: config.workingDir } : {}),
    ...(config.user ? { User: config.user } : {}),
    ...(config.exposedPorts.length > 0 ? { ExposedPorts: keys(config.exposedPorts) } : {}),
    ...(config.volumes.length > 0 ? { Volumes: keys(config.volumes) } : {}),
    ...(Object.keys(config.labels).length > 0 ? { Labels: { ...config.labels } } : {}),
    ...(config.stopSignal ? { StopSignal: config.stopSignal } : {}),
  };
}

function describeImage(image: ImageRecord): Draft<NodeCalls['inspectImage']['response']> {
  const { os, architecture, variant } = image.platform;
  return {
    imageId: image.id,
    digest: image.manifestDigest,
    references: image.repoTags,
    sizeBytes: image.sizeBytes,
    layers: image.layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
    platform: [os, architecture, ...(variant ? [variant] : [])].join('/'),
    configJson: JSON.stringify(image.config),
  };
}
