// Options of the node agent.
import { hostname } from 'node:os';
import { z } from 'zod';
import { DEFAULT_LEASE_SECONDS, MAX_LEASE_SECONDS, MIN_LEASE_SECONDS } from '../../client/lease.ts';
import { DEFAULT_DISK_RESERVE } from '../../lib/disk-reserve.ts';
import { DEFAULT_HOME, DEFAULT_RUN } from '../../lib/instance.ts';
import { quantityFlag } from '../../lib/quantity-flag.ts';

export const NodeAgentConfig = z.object({
  home: z.string().default(DEFAULT_HOME),
  run: z.string().default(DEFAULT_RUN),
  logLevel: z.string().default('info'),
  metricsListen: z.string().default('127.0.0.1:0'),
  kubeconfig: z.string().optional(),
  /** Further API servers than the kubeconfig's, with commas between them. */
  otherServers: z.string().optional(),
  nodeName: z.string().default(hostname().toLowerCase()),
  /** How other machines reach this one: an address of each family at most; see parseNodeIps(). */
  nodeIp: z.string().optional(),
  /** Where logs, exec and the like are served; any port of the first node address unless said, else of loopback. */
  listen: z.string().optional(),
  criSocket: z.string().optional(),
  /** How long the node may be silent before it counts as dead; it renews four times as often. */
  nodeLeaseSeconds: z.coerce
    .number()
    .int()
    .min(MIN_LEASE_SECONDS)
    .max(MAX_LEASE_SECONDS)
    .default(DEFAULT_LEASE_SECONDS),
  /** As the shim's: below it the node has DiskPressure. */
  diskReserve: quantityFlag(DEFAULT_DISK_RESERVE),
});
export type NodeAgentConfig = z.infer<typeof NodeAgentConfig>;
