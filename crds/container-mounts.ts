// The parts of a Container that concern its file system and its networks.
import { z } from 'zod';
import {
  absolutePath,
  countSet,
  hostAddress,
  hostName,
  imageReference,
  integer,
  ipAddress,
  ipv4,
  ipv6,
  list,
  listSet,
  macAddress,
  objectName,
  port,
  quantity,
  relativePath,
  withRules,
  dnsLabel,
} from './fields.ts';

const fileMode = () => integer(0, 0o7777);

const items = (what: string) =>
  list(
    z.object({
      key: z.string().min(1).max(253).describe(`Key in the ${what}.`),
      path: relativePath().describe('File below the mount path.'),
      mode: fileMode().optional().describe('File mode as a number (0644 in YAML); defaultMode unless said.'),
    }),
    1024,
  )
    .optional()
    .describe('Which keys become which files; all keys under their own names unless said.');

const files = (what: string) =>
  z.object({
    name: objectName().describe(`Name of the ${what} in the same namespace.`),
    items: items(what),
    defaultMode: fileMode().default(0o644).describe('Mode of the files as a number; 420 is 0644.'),
    optional: z
      .boolean()
      .default(false)
      .describe(`Mount an empty folder when the ${what} is missing, instead of waiting for it.`),
  });

const SOURCES = ['volume', 'hostPath', 'tmpfs', 'configMap', 'secret', 'image'];

export const Mount = withRules(
  z.object({
    mountPath: absolutePath().describe('Where in the container.'),
    readOnly: z.boolean().default(false).describe('The container cannot write to it.'),
    subPath: relativePath().optional().describe('Mount only this path of the source.'),
    propagation: z
      .enum(['Private', 'HostToContainer', 'Bidirectional'])
      .default('Private')
      .describe(
        "Whether mounts made later on one side show on the other (Docker's rprivate, rslave, rshared). For hostPath.",
      ),
    volume: objectName().optional().describe('Name of a Volume in the same namespace.'),
    hostPath: absolutePath().optional().describe('A file or folder of the node. It must exist.'),
    tmpfs: z
      .object({
        sizeLimit: quantity().optional().describe('Most bytes it may hold; half of the memory unless said.'),
        mode: fileMode().default(0o1777).describe('Mode of its root as a number; 1023 is 01777.'),
      })
      .optional()
      .describe('Memory, gone when the container stops.'),
    configMap: files('ConfigMap').optional().describe('The keys of a ConfigMap as files.'),
    secret: files('Secret').optional().describe('The keys of a Secret as files, in memory.'),
    image: z
      .object({ reference: imageReference().describe('The image.') })
      .optional()
      .describe('The file system of an image, read-only.'),
    noCopy: z.boolean().default(false).describe('Do not fill an empty volume with what the image has at mountPath.'),
  }),
  {
    rule: `${countSet(...SOURCES)} <= 1`,
    message:
      'at most one of volume, hostPath, tmpfs, configMap, secret and image may be set (none of them is an anonymous volume)',
  },
  {
    rule: "has(self.hostPath) || self.propagation == 'Private'",
    message: 'can only be other than Private for a hostPath',
    fieldPath: '.propagation',
  },
  { rule: '!has(self.tmpfs) || !has(self.subPath)', message: 'cannot be used with tmpfs', fieldPath: '.subPath' },
);
export type Mount = z.infer<typeof Mount>;

export const VolumesFrom = z.object({
  container: objectName().describe('Name of a Container in the same namespace; both run on one node.'),
  readOnly: z.boolean().default(false).describe('Mount them read-only here.'),
});

export const ContainerPort = withRules(
  z.object({
    name: dnsLabel().max(15).optional().describe('Name of the port.'),
    containerPort: port().describe('Port the process listens on.'),
    protocol: z.enum(['TCP', 'UDP']).default('TCP').describe('Transport protocol.'),
    hostPort: integer(0, 65535)
      .optional()
      .describe('Port of the node that leads to it; 0 = any free one (see status.ports); absent = not published.'),
    hostIP: ipAddress()
      .optional()
      .describe('Address of the node to publish on; 0.0.0.0 = all of IPv4, :: = all of IPv6; all unless said.'),
  }),
  { rule: '!has(self.hostIP) || has(self.hostPort)', message: 'needs hostPort', fieldPath: '.hostIP' },
);
export type ContainerPort = z.infer<typeof ContainerPort>;

const hostIp = (variable: string): string => `(has(${variable}.hostIP) ? ${variable}.hostIP : '')`;
const isPublished = (variable: string): string => `has(${variable}.hostPort) && ${variable}.hostPort != 0`;
const anyAddress = (variable: string): string => `${hostIp(variable)} in ['', '0.0.0.0', '::']`;

export const ContainerPorts = withRules(
  list(ContainerPort, 128),
  {
    rule: `self.all(p, !(${isPublished('p')}) || self.exists_one(q, ${isPublished('q')} && q.hostPort == p.hostPort && q.protocol == p.protocol && (${hostIp('q')} == ${hostIp('p')} || ${anyAddress('p')} || ${anyAddress('q')})))`,
    message: 'a hostPort is used twice for the same protocol and address',
    reason: 'FieldValueDuplicate',
  },
  {
    rule: 'self.all(p, has(p.hostPort) || self.exists_one(q, !has(q.hostPort) && q.containerPort == p.containerPort && q.protocol == p.protocol))',
    message: 'a containerPort is listed twice for the same protocol',
    reason: 'FieldValueDuplicate',
  },
  {
    rule: 'self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))',
    message: 'a port name is used twice',
    reason: 'FieldValueDuplicate',
  },
);

export const NetworkAttachment = z.object({
  name: objectName().describe('Name of a Network in the same namespace.'),
  aliases: listSet(hostName(), 64)
    .optional()
    .describe('Further names under which the network resolves this container.'),
  ipv4Address: ipv4().optional().describe("A fixed address in the network's subnet; allocated unless said."),
  ipv6Address: ipv6()
    .optional()
    .describe("A fixed address in the network's IPv6 subnet; derived from the IPv4 address unless said."),
  macAddress: macAddress().optional().describe('A fixed hardware address; derived from the IP address unless said.'),
});
export type NetworkAttachment = z.infer<typeof NetworkAttachment>;

export const Dns = z.object({
  nameservers: listSet(ipAddress(), 8)
    .optional()
    .describe("Servers that names outside the networks are asked from; the node's unless said."),
  searches: listSet(hostName(), 32).optional().describe("Search domains; the node's unless said."),
  options: listSet(
    z
      .string()
      .max(253)
      .regex(/^[!-~]+$/),
    32,
  )
    .optional()
    .describe('Options of resolv.conf, e.g. ndots:2.'),
});

export const HostAlias = z.object({
  ip: hostAddress().describe('The address; host-gateway = that of the node, as the first network sees it.'),
  hostnames: list(hostName(), 64).min(1).describe('Names of the address in /etc/hosts.'),
});
