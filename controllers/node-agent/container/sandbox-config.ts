// Container -> CRI PodSandboxConfig: names, namespaces, networks, ports, DNS.
import { RUNTIME_ANNOTATIONS } from '../../../cri/annotations.ts';
import type { Container } from '../../../crds/container.ts';
import { parseQuantity } from '../../../lib/quantity.ts';
import { logDirectoryName } from '../logs/log-files.ts';
import type { NetworkAttachment, OciImageConfig, PublishedPort, SandboxConfig } from '../runtime/node-runtime.ts';
import type { UserRange } from '../users/user-ranges.ts';
import { ANNOTATIONS, MANAGED_LABEL } from './annotations.ts';
import { linuxResources } from './resources.ts';
import { specHash } from './spec-hash.ts';

export interface SandboxInput {
  readonly container: Container;
  readonly attempt: number;
  /** Folder below which each Container has its log folder. */
  readonly podLogs: string;
  readonly imageConfig: OciImageConfig;
  /** Id of the sandbox of the Container whose namespaces are shared. */
  readonly targetSandboxId?: string | undefined;
  readonly targetKey?: string | undefined;
  /** The address that `host-gateway` stands for. */
  readonly hostGateway: string;
  /** For a user namespace of its own. */
  readonly userRange?: UserRange | undefined;
}

/** CRI's words for the user namespace of a Container; nothing for the host's. */
export function userNamespaceOf(range: UserRange | undefined) {
  if (range === undefined) return {};
  const mapping = [{ containerId: 0, ...range }];
  return { usernsOptions: { mode: 'POD', uids: mapping, gids: mapping } as const };
}

/** What says which Networks a Container joins. */
type Attaching = { readonly spec: Pick<Container['spec'], 'networks' | 'hostNetwork' | 'shareNamespaces'> };

/** Names of the Networks a Container joins; the namespace's `default` when it says nothing. */
export function networkNamesOf({ spec }: Attaching): string[] {
  if (spec.hostNetwork || spec.shareNamespaces?.network !== undefined) return [];
  return spec.networks ? spec.networks.map(({ name }) => name) : ['default'];
}

/** Attachments in the runtime's words; the container's own name is its first name on each. */
export function attachmentsOf(container: Attaching & Pick<Container, 'metadata'>): NetworkAttachment[] {
  const { name, namespace = '' } = container.metadata;
  const details = new Map((container.spec.networks ?? []).map((network) => [network.name, network]));
  return networkNamesOf(container).map((network) => {
    const wanted = details.get(network);
    return {
      network: `${namespace}/${network}`,
      ...(wanted?.ipv4Address ? { ipv4Address: wanted.ipv4Address } : {}),
      ...(wanted?.ipv6Address ? { ipv6Address: wanted.ipv6Address } : {}),
      ...(wanted?.macAddress ? { macAddress: wanted.macAddress } : {}),
      names: [name, ...(wanted?.aliases ?? [])],
    };
  });
}

/** Ports to publish; hostPort 0 lets the runtime choose one. */
export function publishedPortsOf(container: Container, image: OciImageConfig): PublishedPort[] {
  const { spec } = container;
  if (spec.hostNetwork || spec.shareNamespaces?.network !== undefined) return [];
  const ports: PublishedPort[] = [];
  for (const port of spec.ports ?? []) {
    if (port.hostPort === undefined && !spec.publishAllPorts) continue;
    ports.push({
      protocol: port.protocol ?? 'TCP',
      containerPort: port.containerPort,
      hostPort: port.hostPort ?? 0,
      hostIp: port.hostIP ?? '',
    });
  }
  if (!spec.publishAllPorts) return ports;
  for (const exposed of Object.keys(image.config?.ExposedPorts ?? {})) {
    const match = /^(\d{1,5})(?:\/(tcp|udp))?$/i.exec(exposed);
    if (!match) continue;
    const protocol = match[2]?.toLowerCase() === 'udp' ? 'UDP' : 'TCP';
    const containerPort = Number(match[1]);
    const isListed = ports.some((port) => port.containerPort === containerPort && port.protocol === protocol);
    if (!isListed) ports.push({ protocol, containerPort, hostPort: 0, hostIp: '' });
  }
  return ports;
}

/** The sandbox of a Container. */
export function sandboxConfig(input: SandboxInput): SandboxConfig {
  const { container, attempt, podLogs, imageConfig, targetSandboxId } = input;
  const hostAliases = container.spec.hostAliases?.map(({ ip, hostnames }) => ({
    ip: ip === 'host-gateway' ? input.hostGateway : ip,
    hostnames,
  }));
  const { spec } = container;
  const { name, namespace = '', uid = '' } = container.metadata;
  const shared = spec.shareNamespaces;
  return {
    metadata: { name, namespace, uid, attempt },
    hostname: spec.hostNetwork ? '' : (spec.hostname ?? name.slice(0, 63).replace(/[.-]+$/, '')),
    logDirectory: `${podLogs}/${logDirectoryName(namespace, name, uid)}`,
    // Absent = the runtime's own resolver, which answers for the networks and asks the node's for the rest.
    dnsConfig: spec.dns
      ? {
          servers: spec.dns.nameservers ?? [],
          searches: spec.dns.searches ?? [],
          options: spec.dns.options ?? [],
        }
      : null,
    portMappings: publishedPortsOf(container, imageConfig),
    labels: {
      ...container.metadata.labels,
      [MANAGED_LABEL]: 'true',
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
    },
    annotations: {
      [ANNOTATIONS.specHash]: specHash(spec),
      ...(input.targetKey ? { [ANNOTATIONS.target]: input.targetKey } : {}),
      [RUNTIME_ANNOTATIONS.attachments]: JSON.stringify(attachmentsOf(container)),
      ...(hostAliases ? { [RUNTIME_ANNOTATIONS.hostAliases]: JSON.stringify(hostAliases) } : {}),
      ...(spec.domainname ? { [RUNTIME_ANNOTATIONS.domainname]: spec.domainname } : {}),
      [RUNTIME_ANNOTATIONS.shmSize]: String(Math.ceil(parseQuantity(spec.shmSize ?? '64Mi'))),
    },
    linux: {
      sysctls: Object.fromEntries((spec.sysctls ?? []).map((sysctl) => [sysctl.name, sysctl.value])),
      resources: linuxResources(spec.resources),
      securityContext: {
        privileged: spec.securityContext?.privileged ?? false,
        namespaceOptions: {
          network: spec.hostNetwork ? 'NODE' : shared?.network === undefined ? 'POD' : 'TARGET',
          pid: spec.hostPID ? 'NODE' : shared?.pid === undefined ? 'CONTAINER' : 'TARGET',
          ipc: spec.hostIPC ? 'NODE' : shared?.ipc === undefined ? 'POD' : 'TARGET',
          ...(targetSandboxId === undefined ? {} : { targetId: targetSandboxId }),
          ...userNamespaceOf(input.userRange),
        },
      },
    },
  };
}
