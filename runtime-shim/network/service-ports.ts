// Published ports of services: claimed like those of containers, but a port that someone has is reported, not thrown,
// since the rest of the service can work.
import { WindlassError } from '../../lib/errors.ts';
import type { PublishedPort, ServicePort, ServiceSpec } from './node-network.ts';
import type { PortTable } from './ports.ts';
import { hasIpv6 } from './service-plan.ts';

export interface ServicePortConflict {
  readonly serviceId: string;
  readonly protocol: string;
  readonly port: number;
  readonly holder: string;
}

export interface ClaimedServices {
  /**
   * The services as they can be. A port that another service has is not published; one that a container or a process of the
   * host has is marked: other nodes go on sending what is for the backends here.
   */
  readonly services: readonly ServiceSpec[];
  readonly conflicts: readonly ServicePortConflict[];
}

/** Gives back what only `before` published, then claims what `after` publishes. */
export function claimServicePorts(
  ports: PortTable,
  before: readonly ServiceSpec[],
  after: readonly ServiceSpec[],
): ClaimedServices {
  const keep = new Map(after.map((service) => [service.id, publishedPorts(service)]));
  for (const { id } of before) ports.release(holderOf(id), keep.get(id) ?? []);
  const labels = new Set(after.map(({ id }) => labelOf(id)));
  const conflicts: ServicePortConflict[] = [];
  const services = after.map((service) => ({
    ...service,
    ports: service.ports.map((port) => {
      const holder = port.publishedPort === 0 ? undefined : claim(ports, service.id, port);
      if (holder === undefined) return port;
      conflicts.push({ serviceId: service.id, protocol: port.protocol, port: port.publishedPort, holder });
      return labels.has(holder) ? { ...port, publishedPort: 0 } : { ...port, isTaken: true };
    }),
  }));
  return { services, conflicts };
}

/**
 * Takes the ports of a service again after a restart. What a process of the host took meanwhile stays the service's: its
 * socket sees no packet, and who declares the services next is told.
 */
export function reclaimServicePorts(ports: PortTable, service: ServiceSpec): void {
  const hasAnyIpv6 = service.ports.some(({ backends }) => backends.some(hasIpv6));
  ports.reclaim(holderOf(service.id), labelOf(service.id), publishedPorts(service), hasAnyIpv6);
}

/** Who has the port; undefined when it is the service's. */
function claim(ports: PortTable, serviceId: string, port: ServicePort): string | undefined {
  try {
    ports.claim(holderOf(serviceId), labelOf(serviceId), [asPublished(port)], port.backends.some(hasIpv6));
    return undefined;
  } catch (error) {
    if (!(error instanceof WindlassError) || error.reason !== 'AlreadyExists') throw error;
    return String(error.details['holder']);
  }
}

const labelOf = (serviceId: string): string => `Service ${serviceId}`;

/** Name under which a service claims ports. */
export const holderOf = (serviceId: string): string => `service/${serviceId}`;

const publishedPorts = (service: ServiceSpec): PublishedPort[] =>
  service.ports.filter(({ publishedPort, isTaken }) => publishedPort !== 0 && !isTaken).map(asPublished);

const asPublished = ({ protocol, port, publishedPort }: ServicePort): PublishedPort => ({
  ...{ protocol, containerPort: port, hostPort: publishedPort, hostIp: '' },
});
