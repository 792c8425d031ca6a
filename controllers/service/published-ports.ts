// Which Service has a published port. In mode Ingress it is one port of every node, so that only one Service can; in mode
// Host only of nodes with a replica, where two Services may have it as long as they do not meet. Pure.
import type { Node } from '../../crds/builtin.ts';
import type { Service, ServicePort, ServiceStatus } from '../../crds/service.ts';
import { isDeleting, keyOf } from '../runtime/object-key.ts';
import { portConflictsOf } from '../runtime/port-conflicts.ts';

export type PublishedPort = NonNullable<ServiceStatus['publishedPorts']>[number];

export interface PublishedPorts {
  readonly held: PublishedPort[];
  /** `port 80/TCP is published by Service shop/web`, one for each port that another Service has. */
  readonly conflicts: readonly string[];
}

/** `80/TCP`, the key of servicesByPort. */
export const portKeysOf = (service: Service): string[] => wantedPorts(service).map(portKey);

/**
 * What `service` may publish; `nodesInConflict` are the nodes that could not do so. Who has a port keeps it, whoever comes later; of two that have it (each was decided while
 * the cache did not show the other), or of two that ask at once, the older one stays.
 */
export function planPublishedPorts(
  service: Service,
  servicesByPort: (key: string) => readonly Service[],
  nodesInConflict: readonly Node[] = [],
): PublishedPorts {
  const held: PublishedPort[] = [];
  const conflicts = nodesInConflict.flatMap((node) => {
    const why = portConflictsOf(node).get(keyOf(service));
    return why === undefined ? [] : [`on node ${node.metadata.name} ${why}`];
  });
  for (const { port, protocol, mode } of wantedPorts(service)) {
    const key = portKey({ port, protocol });
    const rivals = servicesByPort(key).filter(
      (other) => other.metadata.uid !== service.metadata.uid && !(mode === 'Host' && isOnlyHost(other, key)),
    );
    const holder = rivals.find((other) => isBefore(other, service, key));
    if (holder) conflicts.push(`port ${key} is published by Service ${keyOf(holder)}`);
    else if (mode !== 'Host') held.push({ port, protocol });
  }
  return { held, conflicts };
}

type WantedPort = PublishedPort & Pick<ServicePort, 'mode'>;

const isOnlyHost = (service: Service, key: string): boolean =>
  wantedPorts(service).some((port) => portKey(port) === key && port.mode === 'Host');

function wantedPorts(service: Service): WantedPort[] {
  // With a schedule the runs have the ports.
  if (isDeleting(service) || service.spec.schedule) return [];
  return (service.spec.ports ?? []).flatMap(({ publishedPort, protocol, mode }) =>
    publishedPort ? [{ port: publishedPort, protocol, mode }] : [],
  );
}

const portKey = ({ port, protocol }: Pick<PublishedPort, 'port' | 'protocol'>): string => `${port}/${protocol}`;

function isBefore(a: Service, b: Service, key: string): boolean {
  const has = (one: Service): boolean =>
    isOnlyHost(one, key) || (one.status?.publishedPorts?.some((port) => portKey(port) === key) ?? false);
  if (has(a) !== has(b)) return has(a);
  const age = ({ metadata }: Service): string => metadata.creationTimestamp ?? '';
  return age(a) === age(b) ? keyOf(a) < keyOf(b) : age(a) < age(b);
}
