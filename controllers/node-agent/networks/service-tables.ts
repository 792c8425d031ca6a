// What this node's network is told of Services: virtual and published ports with their backends, and names. Pure.
import type { Container } from '../../../crds/container.ts';
import type { Network } from '../../../crds/network.ts';
import type { Service } from '../../../crds/service.ts';
import { isConditionTrue } from '../../runtime/conditions.ts';
import { networkNamesOf } from '../container/sandbox-config.ts';
import type { BalancedService, NetworkNames } from '../runtime/node-runtime.ts';

export const SERVICE_LABEL = 'windlass.dev/service';

export interface ServiceTablesInput {
  readonly services: readonly Service[];
  readonly containers: readonly Container[];
  readonly networks: readonly Network[];
  readonly nodeName: string;
}

export interface ServiceTables {
  readonly services: readonly BalancedService[];
  readonly names: readonly NetworkNames[];
}

/** The whole tables, sorted, so that equal states compare equal. */
export function buildServiceTables(input: ServiceTablesInput): ServiceTables {
  const members = groupMembers(input.containers);
  const overlays = new Set(
    input.networks
      .filter(({ spec }) => spec.driver === 'overlay')
      .map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`),
  );
  const services: BalancedService[] = [];
  const names = new Map<string, { name: string; ipv4Addresses: string[] }[]>();
  const sorted = input.services.toSorted((a, b) => idOf(a).localeCompare(idOf(b)));
  for (const service of sorted) {
    if (service.metadata.deletionTimestamp !== undefined) continue;
    const ready = (members.get(idOf(service)) ?? []).filter((container) => isConditionTrue(container, 'Ready'));
    const addressesOn = (network: string): string[] =>
      ready
        // A bridge is a world of its own on each node: only what runs here can be reached.
        .filter(
          ({ spec }) =>
            spec.nodeName === input.nodeName || overlays.has(`${service.metadata.namespace ?? ''}/${network}`),
        )
        .flatMap(({ status }) => status?.networks?.find(({ name }) => name === network)?.ipv4Address ?? [])
        .toSorted();
    const balanced = balance(service, addressesOn);
    if (balanced.ports.length > 0) services.push(balanced);
    for (const network of networksOf(service)) {
      const vip = service.status?.virtualIPs?.find((one) => one.network === network)?.ip;
      const ipv4Addresses = service.spec.endpointMode === 'DNSRR' || vip === undefined ? addressesOn(network) : [vip];
      const id = `${service.metadata.namespace ?? ''}/${network}`;
      names.set(id, [...(names.get(id) ?? []), { name: service.metadata.name, ipv4Addresses }]);
    }
  }
  return {
    services,
    names: [...names].toSorted(([a], [b]) => a.localeCompare(b)).map(([network, records]) => ({ network, records })),
  };
}

const idOf = ({ metadata }: { metadata: { namespace?: string; name: string } }): string =>
  `${metadata.namespace ?? ''}/${metadata.name}`;

const networksOf = ({ spec }: Service): string[] =>
  networkNamesOf({ spec: spec.template.spec } as unknown as Container);

function groupMembers(containers: readonly Container[]): Map<string, Container[]> {
  const members = new Map<string, Container[]>();
  for (const container of containers) {
    const { labels, namespace = '', deletionTimestamp, ownerReferences = [] } = container.metadata;
    const service = labels?.[SERVICE_LABEL];
    // A label alone does not make a member: anybody can write one.
    const isOwned = ownerReferences.some(
      ({ kind, name, controller }) => kind === 'Service' && name === service && controller,
    );
    if (service === undefined || !isOwned || deletionTimestamp !== undefined) continue;
    const id = `${namespace}/${service}`;
    const list = members.get(id);
    if (list) list.push(container);
    else members.set(id, [container]);
  }
  return members;
}

function balance(service: Service, addressesOn: (network: string) => string[]): BalancedService {
  const ports: BalancedService['ports'][number][] = [];
  const networks = networksOf(service);
  const isVirtual = service.spec.endpointMode !== 'DNSRR';
  for (const port of service.spec.ports ?? []) {
    if (port.mode === 'Host') continue;
    const protocol = port.protocol ?? 'TCP';
    const target = port.targetPort ?? port.port;
    let isPublished = false;
    for (const network of networks) {
      const virtualIp = isVirtual ? service.status?.virtualIPs?.find((one) => one.network === network)?.ip : undefined;
      const publishedPort: number =
        isPublished || !isHeld(service, port.publishedPort, protocol) ? 0 : (port.publishedPort ?? 0);
      if (virtualIp === undefined && publishedPort === 0) continue;
      // One network is enough to reach every member from outside.
      isPublished ||= publishedPort !== 0;
      ports.push({
        protocol,
        virtualIp: virtualIp ?? '',
        port: virtualIp === undefined ? 0 : port.port,
        publishedPort,
        backends: addressesOn(network).map((ip) => ({ ip, port: target })),
        sessionAffinity: service.spec.sessionAffinity === 'ClientIP',
      });
    }
  }
  return { id: idOf(service), ports };
}

/** What another Service has on every node is not asked for; the service controller says so in the status. */
const isHeld = ({ status }: Service, published: number | undefined, wanted: string): boolean =>
  status?.publishedPorts?.some(({ port, protocol }) => port === published && protocol === wanted) ?? false;
