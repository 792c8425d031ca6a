// The network of sandboxes whose caller names none (crictl, a kubelet): what a CNI bridge configuration is to other
// runtimes. The node agent names its networks, so on its nodes this one is never made.
import { WindlassError } from '../../lib/errors.ts';
import { readHostRoutes, type HostRoute } from '../../lib/host-routes.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { formatIp, parseCidr, type Cidr } from './ipam.ts';
import type { NetworkSpec, NodeNetwork } from './node-network.ts';
import { uplinkMtu } from './uplink-mtu.ts';

/** Id of the network that a sandbox without attachments of its own is connected to. */
export const POD_NETWORK = 'default';

/** Tried when no range is given; above the pool from which the control plane's networks get theirs. */
const CANDIDATES = Array.from({ length: 24 }, (_, index) => `10.${200 + index}.0.0/16`);

export interface PodNetwork {
  /** Makes the network if it is not there. Conflict when no range is free on this host. */
  ensure(): Promise<void>;
  /**
   * Takes `cidr` for the sandboxes to come (CRI UpdateRuntimeConfig). Invalid for a range that is none or too small,
   * Conflict while sandboxes use another one.
   */
  setCidr(cidr: string): Promise<void>;
}

/** @param wanted an IPv4 range, or `auto` for a candidate that nothing on this host uses. */
export function createPodNetwork(instance: Instance, network: NodeNetwork, wanted: string): PodNetwork {
  let making: Promise<unknown> | undefined;
  const find = (): NetworkSpec | undefined => network.listNetworks().find(({ id }) => id === POD_NETWORK);
  const make = (cidr: string): Promise<unknown> => network.ensureNetwork(planPodNetwork(cidr, uplinkMtu()));
  return {
    async ensure() {
      if (find()) return;
      // Sandboxes that start at once must not choose a range each.
      making ??= make(
        wanted === 'auto'
          ? choosePodCidr(network.listNetworks(), readHostRoutes(kernelNames.linkPrefix(instance)), startOf(instance))
          : wanted,
      ).finally(() => (making = undefined));
      await making;
    },
    async setCidr(cidr) {
      const spec = planPodNetwork(cidr, uplinkMtu());
      const before = find();
      if (before?.subnets[0]?.cidr === spec.subnets[0]?.cidr) return;
      if (before) await network.removeNetwork(POD_NETWORK);
      await network.ensureNetwork(spec);
    },
  };
}

/** The network over `cidr`, its first address the gateway. Pure. Invalid when the range holds no two containers. */
export function planPodNetwork(cidr: string, mtu: number): NetworkSpec {
  const { base, prefixLength } = parseCidr(cidr);
  if (prefixLength > 29 || prefixLength < 8)
    throw new WindlassError('Invalid', `pod CIDR ${cidr}: want an IPv4 range between /8 and /29`);
  const subnet = { cidr: `${formatIp(base)}/${prefixLength}`, gateway: formatIp(base + 1), ranges: [] };
  return { id: POD_NETWORK, subnets: [subnet], internal: false, isolated: false, mtu, domain: '' };
}

/** Where the search begins: instances that begin elsewhere stay apart also before their bridges show in the routes. */
const startOf = ({ id }: Instance): number => Number.parseInt(id, 16) % CANDIDATES.length;

/** The first candidate from number `start` on, in a circle, that meets neither a network of ours nor a route of the host. Pure. */
export function choosePodCidr(networks: readonly NetworkSpec[], routes: readonly HostRoute[], start = 0): string {
  const taken = [...networks.flatMap(({ subnets }) => subnets), ...routes].map(({ cidr }) => parseCidr(cidr));
  const meets = (candidate: Cidr): boolean =>
    taken.some(({ base, last }) => base <= candidate.last && candidate.base <= last);
  const ordered = [...CANDIDATES.slice(start), ...CANDIDATES.slice(0, start)];
  const free = ordered.find((candidate) => !meets(parseCidr(candidate)));
  if (free === undefined)
    throw new WindlassError('Conflict', 'no range is free for the pod network: give one with --pod-cidr');
  return free;
}
