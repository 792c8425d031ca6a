// Options of the node agent.
import { hostname } from 'node:os';
import { z } from 'zod';
import { DEFAULT_LEASE_SECONDS, MAX_LEASE_SECONDS, MIN_LEASE_SECONDS } from '../../client/lease.ts';
import { DEFAULT_DISK_RESERVE } from '../../lib/disk-reserve.ts';
import { parseHostPort } from '../../lib/host-port.ts';
import { DEFAULT_HOME, DEFAULT_RUN } from '../../lib/instance.ts';
import { quantityFlag } from '../../lib/quantity-flag.ts';
import type { AgentAddress } from './server/agent-server.ts';

const LOOPBACK = '127.0.0.1';
/** That of a kubelet: what a firewall between nodes and servers has to let through. */
export const AGENT_PORT = 10_250;

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
  /** Where logs, exec and the like are served; at the first node address unless said, else on loopback. */
  listen: z.string().optional(),
  /** The port there; AGENT_PORT of a node address, or any port where that is taken, unless said, and any of loopback. */
  agentPort: z.coerce.number().int().min(0).max(65_535).optional(),
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

/** Where the agent of a node with these addresses listens. */
export function agentListen(
  { listen, agentPort }: Pick<NodeAgentConfig, 'listen' | 'agentPort'>,
  [nodeIp]: readonly string[],
): AgentAddress {
  if (listen !== undefined) return parseHostPort(listen);
  if (agentPort !== undefined) return { host: nodeIp ?? LOOPBACK, port: agentPort };
  // Nobody else reaches an agent on loopback, and there may be several.
  return nodeIp === undefined ? { host: LOOPBACK, port: 0 } : { host: nodeIp, port: AGENT_PORT, orAnyPort: true };
}
