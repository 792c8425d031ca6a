// Network: what containers talk over. Every namespace has one named default.
import { z } from 'zod';
import { AGE_COLUMN, MESSAGE_COLUMN, readyColumn, REASON_COLUMN } from './columns.ts';
import { cidr, integer, ipAddress, list, listMap, statusBase, stringMap, withRules } from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';

const Subnet = z.object({
  cidr: cidr().describe('Addresses of the network, e.g. 10.50.0.0/24.'),
  gateway: ipAddress().optional().describe('Address of the gateway; the first usable one unless said.'),
  ipRange: cidr().optional().describe('Part of cidr that addresses are allocated from; all of it unless said.'),
});

export const NetworkSpec = withRules(
  z.object({
    driver: z
      .enum(['bridge', 'overlay'])
      .default('bridge')
      .describe('bridge = on each node by itself; overlay = one network over all nodes.'),
    subnets: withRules(list(Subnet, 8), {
      rule: 'self.all(s, self.exists_one(t, t.cidr == s.cidr))',
      message: 'a cidr is listed twice',
      reason: 'FieldValueDuplicate',
    })
      .optional()
      .describe('Its address ranges; allocated unless given (see status.subnets).'),
    ipv6: z
      .boolean()
      .default(false)
      .describe('Give IPv6 addresses too, of a range of unique local addresses unless subnets has one of IPv6.'),
    internal: z.boolean().default(false).describe('No way out: neither routed nor resolved beyond the network.'),
    isolated: z.boolean().default(false).describe('Containers reach the outside, but not each other.'),
    mtu: integer(576, 65535)
      .optional()
      .describe("Largest packet; that of the node's uplink unless said (less the overhead of an overlay)."),
    encrypted: z
      .boolean()
      .default(false)
      .describe('Encrypt what goes from node to node, for an overlay; not on nodes whose kernel has no WireGuard.'),
    labels: stringMap().optional().describe('Labels of the network as containers and plugins see it.'),
  }),
  { rule: "!self.encrypted || self.driver == 'overlay'", message: 'needs driver overlay', fieldPath: '.encrypted' },
  {
    rule: "self.ipv6 || !has(self.subnets) || self.subnets.all(s, !s.cidr.contains(':'))",
    message: 'an IPv6 cidr needs ipv6: true',
    fieldPath: '.subnets',
  },
  {
    rule: '!self.ipv6 || !has(self.mtu) || self.mtu >= 1280',
    message: 'must be at least 1280 with ipv6: true',
    fieldPath: '.mtu',
  },
  {
    rule: "!has(self.subnets) || self.subnets.filter(s, s.cidr.contains(':')).size() <= 1",
    message: 'a network has one IPv6 cidr: give a larger one instead of several',
    fieldPath: '.subnets',
  },
);
export type NetworkSpec = z.infer<typeof NetworkSpec>;
export type NetworkSpecInput = z.input<typeof NetworkSpec>;

export const NetworkStatus = z.object({
  subnets: listMap(
    z.object({
      cidr: z.string().describe('Addresses of the network.'),
      gateway: z.string().optional().describe('Address of the gateway.'),
      ipRange: z.string().optional().describe('Part of cidr that addresses are allocated from.'),
    }),
    ['cidr'],
    8,
  )
    .optional()
    .describe('Its address ranges, allocated if spec gives none.'),
  vni: integer(1, 16_777_215).optional().describe('Id of an overlay on the wire.'),
  vxlanPort: integer(1, 65_535).optional().describe('UDP port that an overlay uses between nodes.'),
  wireguardPort: integer(1, 65_535)
    .optional()
    .describe('UDP port that an encrypted overlay uses between nodes; vxlanPort is inside that.'),
  nodes: listMap(
    z.object({
      name: z.string().describe('The node.'),
      underlayIP: z.string().optional().describe('Address at which other nodes reach it.'),
      encryptionKey: z.string().optional().describe('Of an encrypted overlay: public key of the node (WireGuard).'),
      tunnelIP: z.string().optional().describe('Of an encrypted overlay: address of the node inside the tunnels.'),
      ipv4Address: z.string().optional().describe('Of an overlay: address of the bridge that no other node has.'),
      macAddress: z.string().optional().describe('Of an overlay: hardware address of the bridge.'),
      bridge: z.string().optional().describe('Name of the bridge on the node.'),
      ranges: list(z.string(), 512).optional().describe('Blocks of addresses that only this node gives out.'),
      ready: z.boolean().optional().describe('Whether the node has set it up.'),
      message: z.string().optional().describe('Why it is not ready there.'),
    }),
    ['name'],
    8192,
  )
    .optional()
    .describe('The nodes that have it.'),
  endpoints: listMap(
    z.object({
      container: z.string().describe('Name of the Container.'),
      ipv4Address: z.string().optional().describe('Its address.'),
      ipv6Address: z.string().optional().describe('Its IPv6 address.'),
      macAddress: z.string().optional().describe('Its hardware address.'),
      nodeName: z.string().optional().describe('Its node.'),
    }),
    ['container'],
    65_536,
  )
    .optional()
    .describe('The containers on it.'),
  ...statusBase('Ready (usable on every node that needs it), Encrypted (of spec.encrypted: on all nodes)'),
});
export type NetworkStatus = z.infer<typeof NetworkStatus>;

/** The overlay that every node has, for traffic of published ports between nodes; made by the network controller. */
export const INGRESS_NETWORK = { namespace: 'windlass-system', name: 'ingress' } as const;

export const isIngress = ({ metadata }: Pick<Network, 'metadata'>): boolean =>
  metadata.namespace === INGRESS_NETWORK.namespace && metadata.name === INGRESS_NETWORK.name;

export interface Network extends KubernetesObject {
  spec: NetworkSpec;
  status?: NetworkStatus;
}

const UNCHANGEABLE = 'cannot be changed: delete the Network and create it again';

export const networkKind: CustomKind<Network> = {
  group: GROUP,
  version: VERSION,
  kind: 'Network',
  plural: 'networks',
  singular: 'network',
  namespaced: true,
  shortNames: ['net'],
  categories: ['windlass'],
  description:
    'Network is what containers talk over: a bridge on each node, or an overlay over all nodes. Names of its containers and services resolve on it.',
  spec: NetworkSpec,
  specOptional: true,
  status: NetworkStatus,
  specRules: [
    { rule: 'self.driver == oldSelf.driver', message: UNCHANGEABLE, fieldPath: '.driver' },
    {
      rule: '!has(oldSelf.subnets) || (has(self.subnets) && self.subnets == oldSelf.subnets)',
      message: 'cannot be changed once set: delete the Network and create it again',
      fieldPath: '.subnets',
    },
    { rule: 'self.ipv6 == oldSelf.ipv6', message: UNCHANGEABLE, fieldPath: '.ipv6' },
    { rule: 'self.encrypted == oldSelf.encrypted', message: UNCHANGEABLE, fieldPath: '.encrypted' },
  ],
  columns: [
    { name: 'Driver', type: 'string', jsonPath: '.spec.driver', description: 'bridge or overlay.' },
    { name: 'Subnet', type: 'string', jsonPath: '.status.subnets[*].cidr', description: 'Its addresses.' },
    readyColumn('Whether it can be used.'),
    REASON_COLUMN,
    {
      name: 'Internal',
      type: 'boolean',
      jsonPath: '.spec.internal',
      priority: 1,
      description: 'Whether it has no way out.',
    },
    {
      name: 'Nodes',
      type: 'string',
      jsonPath: '.status.nodes[*].name',
      priority: 1,
      description: 'The nodes that have it.',
    },
    MESSAGE_COLUMN,
    AGE_COLUMN,
  ],
  selectableFields: ['.spec.driver'],
};
