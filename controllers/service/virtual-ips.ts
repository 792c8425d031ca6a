// Virtual IPs of Services: one per network of the template, from the block that the network keeps for them.
import type { Network } from '../../crds/network.ts';
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { nextVirtualIp, virtualBlock } from '../network/blocks.ts';
import { parseIpv4 } from '../network/ipv4.ts';
import { networksOf } from '../network/plan.ts';

type VirtualIps = NonNullable<ServiceStatus['virtualIPs']>;

/** How often a Service that lacks an address looks whether another one has given one back. */
export const VIRTUAL_IP_RETRY_MS = 5_000;

export interface VirtualIpAllocator {
  /** The addresses `service` should have. What it has is kept while it fits; a new one is reserved until the cache shows it. */
  allocate(service: Service): VirtualIps;
  /** Networks of `service` that have no address for it left. */
  exhausted(service: Service): string[];
  /** Gives back what was reserved for a Service that is gone. */
  release(serviceUid: string): void;
}

/** Allocates for one namespace after the other; all calls must come from one process at a time (the leader). */
export function createVirtualIpAllocator(deps: {
  network(namespace: string, name: string): Network | undefined;
  services(namespace: string): readonly Service[];
}): VirtualIpAllocator {
  // Written but perhaps not yet in the cache: `namespace/network` -> address -> UID of the Service.
  const reserved = new Map<string, Map<string, string>>();

  function takenOn(namespace: string, network: string, uid: string): Set<string> {
    const taken = new Set<string>();
    for (const [ip, holder] of reserved.get(`${namespace}/${network}`) ?? []) if (holder !== uid) taken.add(ip);
    for (const other of deps.services(namespace)) {
      if (other.metadata.uid === uid) continue;
      for (const { network: name, ip } of other.status?.virtualIPs ?? []) if (name === network) taken.add(ip);
    }
    return taken;
  }

  const allocator: VirtualIpAllocator = {
    allocate(service) {
      const { namespace = '', uid = '' } = service.metadata;
      if (service.spec.endpointMode !== 'VIP') return [];
      const result: VirtualIps = [];
      for (const name of networksOf({ spec: service.spec.template.spec })) {
        const subnets = deps.network(namespace, name)?.status?.subnets;
        if (!subnets || subnets.length === 0) continue;
        const taken = takenOn(namespace, name, uid);
        const mine = reserved.get(`${namespace}/${name}`) ?? new Map<string, string>();
        const had =
          service.status?.virtualIPs?.find((entry) => entry.network === name)?.ip ??
          [...mine].find(([, holder]) => holder === uid)?.[0];
        const ip = had && !taken.has(had) && isVirtual(had, subnets) ? had : nextVirtualIp(subnets, taken);
        if (ip === undefined) continue;
        mine.set(ip, uid);
        reserved.set(`${namespace}/${name}`, mine);
        result.push({ network: name, ip });
      }
      return result;
    },
    exhausted(service) {
      if (service.spec.endpointMode !== 'VIP') return [];
      const { namespace = '' } = service.metadata;
      const given = new Set(allocator.allocate(service).map(({ network }) => network));
      return networksOf({ spec: service.spec.template.spec }).filter(
        (name) => !given.has(name) && (deps.network(namespace, name)?.status?.subnets?.length ?? 0) > 0,
      );
    },
    release(serviceUid) {
      for (const addresses of reserved.values()) {
        for (const [ip, holder] of addresses) if (holder === serviceUid) addresses.delete(ip);
      }
    },
  };
  return allocator;
}

function isVirtual(ip: string, subnets: NonNullable<NonNullable<Network['status']>['subnets']>): boolean {
  const value = parseIpv4(ip);
  return subnets.some((subnet) => {
    if (value === undefined || subnet.cidr.includes(':')) return false;
    const block = virtualBlock(subnet);
    return value >= block.first && value < block.first + block.size;
  });
}
