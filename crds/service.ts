// Service: any number of equal Containers behind one name and one address.
import { z } from 'zod';
import { ContainerSpec } from './container.ts';
import { CRON, CRON_WORDS } from './cron.ts';
import {
  conditionPath,
  count,
  dnsLabel,
  integer,
  list,
  listMap,
  port,
  seconds,
  statusBase,
  stringMap,
  time,
  withRules,
  worded,
} from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';
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

const ServicePort = z.object({
  name: dnsLabel().max(15).optional().describe('Name of the port.'),
  port: port().describe("Port of the Service's virtual IP."),
  targetPort: port().optional().describe('Port of the containers; the same as port unless said.'),
  publishedPort: port().optional().describe('Port of the nodes that leads to it; absent = not published.'),
  protocol: z.enum(['TCP', 'UDP']).default('TCP').describe('Transport protocol.'),
  mode: z
    .enum(['Ingress', 'Host'])
    .default('Ingress')
    .describe(
      'Ingress = every node answers, for all containers of the Service; Host = only nodes that run some, for those.',
    ),
});
export type ServicePort = z.infer<typeof ServicePort>;

/** Replicas of one Service: what is beyond is a typing error sooner than a wish. */
const MAX_REPLICAS = 50_000;

export const UpdateStrategy = z.object({
  parallelism: integer(0, 1_000_000).default(1).describe('How many containers are replaced at the same time; 0 = all.'),
  delaySeconds: seconds()
    .default(0)
    .describe('The next container is replaced only when the last new one has been Ready this long.'),
  order: z
    .enum(['StopFirst', 'StartFirst'])
    .default('StopFirst')
    .describe(
      'Whether the old container goes before or after the new one is there. With StartFirst there are up to parallelism more than wanted. Where a volume has room for one container only, StartFirst works as StopFirst.',
    ),
  failureAction: z
    .enum(['Pause', 'Continue', 'Rollback'])
    .default('Pause')
    .describe(
      'What to do when more than maxFailurePercent of the new containers failed. Pause = replace no more until template, updateStrategy, minReadySeconds or rollbackTo change; Rollback = go back to the revision before.',
    ),
  monitorSeconds: seconds()
    .default(5)
    .describe(
      'A new container is watched until it has been Ready this long, and the next one waits for that. One that fails before counts as a failed update.',
    ),
  maxFailurePercent: integer(0, 100).default(0).describe('Failures that are tolerated, in percent of the containers.'),
});
export type UpdateStrategy = z.infer<typeof UpdateStrategy>;

export const ServiceSpec = withRules(
  z.object({
    replicas: integer(0, MAX_REPLICAS).default(1).describe('How many Containers, in mode Replicated.'),
    mode: z
      .enum(['Replicated', 'Global', 'Job'])
      .default('Replicated')
      .describe(
        'Replicated = replicas Containers; Global = one on every node whose labels and taints fit, also when it is cordoned; Job = until completions of them ended well.',
      ),
    job: z
      .object({
        completions: integer(1, 1_000_000).default(1).describe('How many must end with exit code 0.'),
        parallelism: integer(1, 1_000_000)
          .default(1)
          .describe('How many run at the same time; fewer ends some, more starts some at once.'),
        backoffLimit: integer(0, 1_000_000)
          .default(6)
          .describe(
            'How many failures another try makes good, after growing pauses; with one more the job has failed.',
          ),
      })
      .optional()
      .describe('Numbers for mode Job.'),
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
    ports: withRules(
      list(ServicePort, 128),
      {
        rule: 'self.all(p, !has(p.publishedPort) || self.exists_one(q, has(q.publishedPort) && q.publishedPort == p.publishedPort && q.protocol == p.protocol))',
        message: 'a publishedPort is used twice for the same protocol',
        reason: 'FieldValueDuplicate',
      },
      {
        rule: 'self.all(p, has(p.publishedPort) || self.exists_one(q, !has(q.publishedPort) && q.port == p.port && q.protocol == p.protocol))',
        message: 'a port is listed twice for the same protocol',
        reason: 'FieldValueDuplicate',
      },
      {
        rule: 'self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))',
        message: 'a port name is used twice',
        reason: 'FieldValueDuplicate',
      },
    )
      .optional()
      .describe('Ports of the Service, and where they are published.'),
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
        "How containers see the client's address at a published port: as it is where possible, as a node's, or (not supported yet) in a PROXY protocol header.",
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
    schedule: z
      .object({
        cron: worded(CRON, 256, CRON_WORDS).describe(
          'When to run: minute hour day month weekday, or @daily and the like. Where both day and weekday are given, either will do.',
        ),
        timeZone: worded(
          '^[A-Za-z][-+_A-Za-z0-9]*(/[A-Za-z][-+_A-Za-z0-9]*)*$',
          64,
          'must be the name of a time zone, e.g. Europe/Berlin or UTC',
        )
          .default('UTC')
          .describe('Time zone of cron, e.g. Europe/Berlin.'),
        concurrencyPolicy: z
          .enum(['Allow', 'Forbid', 'Replace'])
          .default('Allow')
          .describe(
            'What happens when a run is due and one is still going: Allow = both go; Forbid = the newest time waits until it has ended; Replace = it is deleted.',
          ),
        startingDeadlineSeconds: seconds()
          .optional()
          .describe(
            'A run that could not start within this time is left out; absent = it starts however late it is. Of several that were missed only the last starts.',
          ),
        historyLimit: integer(0, 1000).default(3).describe('How many finished runs are kept.'),
      })
      .optional()
      .describe('Run the job again and again, in mode Job.'),
    autoscale: withRules(
      z.object({
        minReplicas: integer(1, MAX_REPLICAS)
          .default(1)
          .describe('Never fewer. Not 0: from there no use of CPU would ever lead back.'),
        maxReplicas: integer(1, MAX_REPLICAS).describe('Never more.'),
        cpuPercent: integer(1, 10_000)
          .default(80)
          .describe(
            'Wanted use of CPU on average, in percent of what the containers request (or of their limit, where nothing is requested).',
          ),
      }),
      {
        rule: 'self.minReplicas <= self.maxReplicas',
        message: 'must not be above maxReplicas',
        fieldPath: '.minReplicas',
      },
    )
      .optional()
      .describe(
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

export const UPDATE_PHASES = [
  'Updating',
  'Completed',
  'Paused',
  'RollingBack',
  'RolledBack',
  'RollbackPaused',
] as const;

export const ServiceStatus = z.object({
  desiredReplicas: count()
    .optional()
    .describe('Containers wanted: spec.replicas, in mode Global one for each node that fits, in mode Job completions.'),
  replicas: count().optional().describe('Containers there are.'),
  readyReplicas: count().optional().describe('Containers that are Ready.'),
  updatedReplicas: count().optional().describe('Containers of the template of updateRevision.'),
  availableReplicas: count().optional().describe('Containers that have been Ready for minReadySeconds.'),
  succeeded: count().optional().describe('Mode Job: slots whose Container ended with exit code 0.'),
  failed: count().optional().describe('Mode Job: tries that ended otherwise.'),
  completedSlots: z
    .string()
    .optional()
    .describe('Mode Job: the slots that are done, e.g. 1-3,5; they are not run again.'),
  selector: z.string().optional().describe('Label selector of the Containers.'),
  publishedPorts: listMap(
    z.object({
      port: z.int().min(1).max(65_535).describe('The port of every node.'),
      protocol: z.enum(['TCP', 'UDP']).describe('Its protocol.'),
    }),
    ['port', 'protocol'],
    256,
  )
    .optional()
    .describe('Ports that the Service has on every node; one that another Service has already is not among them.'),
  virtualIPs: listMap(
    z.object({
      network: z.string().describe('The Network.'),
      ip: z.string().describe('Address of the Service there.'),
    }),
    ['network'],
    32,
  )
    .optional()
    .describe('Its addresses.'),
  currentRevision: z.string().optional().describe('Hash of the template that the last finished update reached.'),
  updateRevision: z.string().optional().describe('Hash of the template that the Containers are brought to.'),
  update: z
    .object({
      phase: z
        .enum(UPDATE_PHASES)
        .describe(
          'Where the update is. Paused and RollbackPaused stay until template, updateStrategy, minReadySeconds or rollbackTo change.',
        ),
      revision: integer(1, Number.MAX_SAFE_INTEGER).describe(
        'Number of the revision that the Containers are brought to.',
      ),
      fromRevision: integer(0, Number.MAX_SAFE_INTEGER).describe(
        'Number of the revision before, to which a rollback goes; 0 = there was none.',
      ),
      settings: z.string().describe('Hash of the fields that start an update anew when they change.'),
      startedAt: time().describe('When it began.'),
      updatedSlots: z.string().describe('Slots whose new Container has passed monitorSeconds, e.g. 1-3,5.'),
      failedSlots: z.string().describe('Slots whose new Container failed before that.'),
      message: z.string().describe('Why it is paused or rolled back.'),
    })
    .optional()
    .describe('The last change of the template and how far it came.'),
  revisions: listMap(
    z.object({
      revision: integer(1, Number.MAX_SAFE_INTEGER).describe('Number of the revision, for rollbackTo.'),
      hash: z.string().describe('Hash of its template.'),
      createdAt: time().optional().describe('When it was first seen.'),
      template: z.record(z.string(), z.unknown()).optional().describe('The template.'),
    }),
    ['revision'],
    1010,
  )
    .optional()
    .describe(
      'Templates of the past and the present, by number. A template that comes back has the number it had before.',
    ),
  autoscale: z
    .object({
      desiredReplicas: count().optional().describe('Replicas that the load asked for last, within the limits.'),
      currentCpuPercent: count().optional().describe('Use of CPU in percent of what is requested.'),
      lastScaleTime: time().optional().describe('When replicas were last changed because of the load.'),
    })
    .optional()
    .describe('What autoscaling sees and does.'),
  lastScheduleTime: time().optional().describe('The time of the schedule that was last run.'),
  nextScheduleTime: time().optional().describe('The next time of the schedule.'),
  lastSuccessfulTime: time().optional().describe('When a run of the schedule was last complete.'),
  activeRuns: list(z.string(), 1_000)
    .optional()
    .describe('Runs of the schedule that are going on: Services of their own.'),
  ...statusBase(
    'Available, Progressing, Updated and Ready; in mode Job Complete and Failed; with autoscale ScalingActive and ScalingLimited',
  ),
});
export type ServiceStatus = z.infer<typeof ServiceStatus>;

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
    {
      name: 'Reason',
      type: 'string',
      jsonPath: conditionPath('Ready', 'reason'),
      description: 'Why it is Ready or not.',
    },
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
    {
      name: 'Message',
      type: 'string',
      jsonPath: conditionPath('Ready', 'message'),
      priority: 1,
      description: 'Why it is Ready or not, as a sentence.',
    },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
  scale: {
    specReplicasPath: '.spec.replicas',
    statusReplicasPath: '.status.replicas',
    labelSelectorPath: '.status.selector',
  },
  selectableFields: ['.spec.mode'],
};
