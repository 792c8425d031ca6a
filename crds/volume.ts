// Volume: a named folder that outlives the containers that use it.
import { z } from 'zod';
import { AGE_COLUMN, MESSAGE_COLUMN, readyColumn, REASON_COLUMN } from './columns.ts';
import { absolutePath, count, listSet, objectName, pattern, quantity, statusBase, withRules } from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';

export const VolumeSpec = withRules(
  z.object({
    driver: z
      .enum(['local'])
      .default('local')
      .describe('What provides the volume. local = a folder or a mount of the node.'),
    options: withRules(
      z.object({
        type: z
          .string()
          .min(1)
          .max(64)
          .regex(/^[a-z0-9._]+$/)
          .optional()
          .describe('File system to mount: tmpfs, nfs, ext4, ...; none with o: bind.'),
        device: pattern('^[^\\x00\\n]+$', 4096)
          .min(1)
          .optional()
          .describe('What to mount: a device, :/export of an NFS server, a folder for a bind.'),
        o: z
          .string()
          .min(1)
          .max(4096)
          .regex(/^[!-~]+$/)
          .optional()
          .describe('Mount options, comma separated: size=64m, addr=10.0.0.1,rw, bind.'),
      }),
      {
        rule: "has(self.type) || (has(self.o) && self.o.matches('(^|,)r?bind(,|$)'))",
        message: 'needs type, or bind in o',
      },
      {
        rule: "has(self.device) || (has(self.type) && self.type == 'tmpfs')",
        message: 'needs device, unless type is tmpfs',
      },
    )
      .optional()
      .describe("A mount instead of a folder, as with Docker's local driver."),
    capacity: quantity()
      .optional()
      .describe('Most bytes it may hold. Enforced where the file system can; condition Ready says so where not.'),
    hostPath: absolutePath()
      .optional()
      .describe('Use this folder of the node. It never gets a copy of what the image has, and is not deleted.'),
    nodeName: objectName()
      .optional()
      .describe('The node it is on. The first Container that uses it decides unless said.'),
    reclaimPolicy: z
      .enum(['Delete', 'Retain'])
      .default('Delete')
      .describe('What happens to the bytes when the Volume is deleted.'),
  }),
  {
    rule: '!(has(self.hostPath) && has(self.options))',
    message: 'hostPath and options cannot both be set',
    fieldPath: '.hostPath',
  },
);
export type VolumeSpec = z.infer<typeof VolumeSpec>;
export type VolumeSpecInput = z.input<typeof VolumeSpec>;

export const VolumeStatus = z.object({
  phase: z
    .enum(['Pending', 'Bound', 'Lost'])
    .optional()
    .describe('Pending = not used yet, Bound = on a node, Lost = its node is gone.'),
  nodeName: z.string().optional().describe('The node it is on.'),
  mountpoint: z.string().optional().describe('Its folder on the node.'),
  inUseBy: listSet(z.string(), 8192).optional().describe('Names of the Containers that mount it.'),
  usedBytes: count().optional().describe('Bytes it holds.'),
  ...statusBase('Ready (it can be used, also before first use), InUse, Dangling'),
});
export type VolumeStatus = z.infer<typeof VolumeStatus>;

export interface Volume extends KubernetesObject {
  spec: VolumeSpec;
  status?: VolumeStatus;
}

const UNCHANGEABLE = 'cannot be changed: delete the Volume and create it again';

export const volumeKind: CustomKind<Volume> = {
  group: GROUP,
  version: VERSION,
  kind: 'Volume',
  plural: 'volumes',
  singular: 'volume',
  namespaced: true,
  shortNames: ['vol'],
  categories: ['windlass'],
  description: 'Volume is a named folder on a node that outlives the containers that use it.',
  spec: VolumeSpec,
  specOptional: true,
  status: VolumeStatus,
  specRules: [
    { rule: 'self.driver == oldSelf.driver', message: UNCHANGEABLE, fieldPath: '.driver' },
    {
      rule: 'has(self.options) == has(oldSelf.options) && (!has(self.options) || self.options == oldSelf.options)',
      message: UNCHANGEABLE,
      fieldPath: '.options',
    },
    {
      rule: 'has(self.hostPath) == has(oldSelf.hostPath) && (!has(self.hostPath) || self.hostPath == oldSelf.hostPath)',
      message: UNCHANGEABLE,
      fieldPath: '.hostPath',
    },
    {
      rule: '!has(oldSelf.nodeName) || (has(self.nodeName) && self.nodeName == oldSelf.nodeName)',
      message: 'cannot be changed once set: delete the Volume and create it again',
      fieldPath: '.nodeName',
    },
  ],
  columns: [
    { name: 'Status', type: 'string', jsonPath: '.status.phase', description: 'Where the volume is in its life.' },
    readyColumn('Whether it can be used.'),
    REASON_COLUMN,
    { name: 'Capacity', type: 'string', jsonPath: '.spec.capacity', description: 'Most bytes it may hold.' },
    { name: 'Used-By', type: 'string', jsonPath: '.status.inUseBy[*]', description: 'The Containers that mount it.' },
    { name: 'Node', type: 'string', jsonPath: '.status.nodeName', priority: 1, description: 'The node it is on.' },
    {
      name: 'Mountpoint',
      type: 'string',
      jsonPath: '.status.mountpoint',
      priority: 1,
      description: 'Its folder on the node.',
    },
    MESSAGE_COLUMN,
    AGE_COLUMN,
  ],
  selectableFields: ['.spec.nodeName', '.status.nodeName', '.status.phase'],
};
