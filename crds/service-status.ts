// What the controllers say of a Service.
import { z } from 'zod';
import { count, integer, list, listMap, statusBase, time } from './fields.ts';

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
