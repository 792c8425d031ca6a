// Service: any number of equal Containers behind one name and one address.
import { z } from 'zod';
import { ContainerSpec } from './container.ts';
import { AGE_COLUMN, MESSAGE_COLUMN, REASON_COLUMN } from './columns.ts';
import { dnsLabel, integer, listMap, seconds, stringMap, withRules } from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';
import { Job, Schedule } from './service-job.ts';
import { ServicePorts } from './service-ports.ts';
import { Autoscale, MAX_REPLICAS } from './service-scale.ts';
import { ServiceStatus } from './service-status.ts';
import { UpdateStrategy } from './service-update.ts';
import { VolumeSpec } from './volume.ts';

const Template = z.object({
  metadata: z
    .object({
      labels: stringMap().optional().describe('Labels of the Containers.'),
      annotations: stringMap().optional().describe('Annotations of the Containers.'),
    })
    .optional()
    .describe('Metadata of the Containers.'),
  spec: ContainerSpec.describe('Spec of the Containers.'),
});

export const ServiceSpec = withRules(
  z.object({
    replicas: integer(0, MAX_REPLICAS).default(1).describe('How many Containers, in mode Replicated.'),
    mode: z
      .enum(['Replicated', 'Global', 'Job'])
      .default('Replicated')
      .describe(
        'Replicated = replicas Containers; Global = one on every node whose labels and taints fit, also when it is cordoned; Job = until completions of them ended well.',
      ),
    job: Job.optional().describe('Numbers for mode Job.'),
    template: Template.describe(
      'What the Containers look like. A change replaces them as updateStrategy says. In mode Job it is for the tries that start afterwards, and restartPolicy Always is read as Never.',
    ),
    volumeTemplates: listMap(
      z.object({
        name: dnsLabel().describe('Name by which mounts of the template mean the Volume of their slot.'),
        spec: VolumeSpec.prefault({}).describe('Spec of the Volumes.'),
      }),
      ['name'],
      16,
    )
      .optional()
      .describe(
        'A Volume for each slot: <name>-<service>-<slot>, made with its first Container. It stays with the slot when the Container is replaced, and when the slot or the Service is deleted.',
      ),
    ports: ServicePorts.optional().describe('Ports of the Service, and where they are published.'),
    endpointMode: z
      .enum(['VIP', 'DNSRR'])
      .default('VIP')
      .describe("What the Service's name resolves to: one virtual IP, or the addresses of the containers."),
    sessionAffinity: z
      .enum(['None', 'ClientIP'])
      .default('None')
      .describe('ClientIP = one client always gets to the same container, by whatever node it comes.'),
    clientAddress: z
      .enum(['Preserve', 'Masquerade', 'ProxyProtocol'])
      .default('Preserve')
      .describe(
        "How containers see the client's address at a published port: as it is where possible, as a node's, or (TCP only) in a PROXY protocol header before all else.",
      ),
    updateStrategy: UpdateStrategy.prefault({}).describe('How a change of the template reaches the Containers.'),
    rollbackTo: integer(1, Number.MAX_SAFE_INTEGER)
      .optional()
      .describe(
        'While it is set, the template of this revision (see status.revisions) counts instead of spec.template. Without it, spec.template counts again.',
      ),
    revisionHistoryLimit: integer(0, 1000)
      .default(10)
      .describe('How many revisions are kept that are not in use, as far as their templates fit into 256 KiB.'),
    minReadySeconds: seconds().default(0).describe('A container is available when it has been Ready this long.'),
    schedule: Schedule.optional().describe('Run the job again and again, in mode Job.'),
    autoscale: Autoscale.optional().describe(
      'Let the load decide replicas. It is written into spec.replicas: leave that out of files that are applied again.',
    ),
  }),
  {
    rule: "self.mode != 'Global' || self.replicas == 1",
    message: 'must be left out with mode Global, which has one Container on every node that fits',
    fieldPath: '.replicas',
  },
  {
    rule: "!has(self.volumeTemplates) || self.mode != 'Job'",
    message: 'needs mode Replicated or Global',
    fieldPath: '.volumeTemplates',
  },
  {
    rule: '!has(self.volumeTemplates) || self.volumeTemplates.all(v, has(self.template.spec.mounts) && self.template.spec.mounts.exists(m, has(m.volume) && m.volume == v.name))',
    message: 'each must be the volume of a mount of the template',
    fieldPath: '.volumeTemplates',
  },
  { rule: "!has(self.job) || self.mode == 'Job'", message: 'needs mode Job', fieldPath: '.job' },
  { rule: "!has(self.schedule) || self.mode == 'Job'", message: 'needs mode Job', fieldPath: '.schedule' },
  {
    rule: "!has(self.autoscale) || self.mode == 'Replicated'",
    message: 'needs mode Replicated',
    fieldPath: '.autoscale',
  },
);
export type ServiceSpec = z.infer<typeof ServiceSpec>;
export type ServiceSpecInput = z.input<typeof ServiceSpec>;

export { ServicePort } from './service-ports.ts';
export { ServiceStatus, UPDATE_PHASES } from './service-status.ts';
export { UpdateStrategy } from './service-update.ts';

export interface Service extends KubernetesObject {
  spec: ServiceSpec;
  status?: ServiceStatus;
}

export const serviceKind: CustomKind<Service> = {
  group: GROUP,
  version: VERSION,
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  namespaced: true,
  shortNames: ['svc'],
  categories: ['windlass', 'all'],
  description:
    'Service keeps a number of equal Containers running behind one name and one virtual IP, and replaces them step by step when their template changes.',
  spec: ServiceSpec,
  status: ServiceStatus,
  specRules: [
    {
      rule: 'has(self.volumeTemplates) == has(oldSelf.volumeTemplates) && (!has(self.volumeTemplates) || self.volumeTemplates == oldSelf.volumeTemplates)',
      message: 'cannot be changed: delete the Service, whose Volumes stay, and create it again',
      fieldPath: '.volumeTemplates',
    },
    {
      rule: 'self.mode == oldSelf.mode',
      message: 'cannot be changed: delete the Service and create it again',
      fieldPath: '.mode',
    },
  ],
  columns: [
    { name: 'Mode', type: 'string', jsonPath: '.spec.mode', description: 'Replicated, Global or Job.' },
    { name: 'Desired', type: 'integer', jsonPath: '.status.desiredReplicas', description: 'Containers wanted.' },
    { name: 'Ready', type: 'integer', jsonPath: '.status.readyReplicas', description: 'Containers that are Ready.' },
    {
      name: 'Updated',
      type: 'integer',
      jsonPath: '.status.updatedReplicas',
      description: 'Containers of the template that they are brought to.',
    },
    REASON_COLUMN,
    { name: 'Ports', type: 'string', jsonPath: '.spec.ports[*].publishedPort', description: 'Published ports.' },
    {
      name: 'Image',
      type: 'string',
      jsonPath: ".spec.template.spec['image','imageName']",
      priority: 1,
      description: 'The image.',
    },
    {
      name: 'Virtual-IP',
      type: 'string',
      jsonPath: '.status.virtualIPs[*].ip',
      priority: 1,
      description: 'Its addresses.',
    },
    MESSAGE_COLUMN,
    AGE_COLUMN,
  ],
  scale: {
    specReplicasPath: '.spec.replicas',
    statusReplicasPath: '.status.replicas',
    labelSelectorPath: '.status.selector',
  },
  selectableFields: ['.spec.mode'],
};
