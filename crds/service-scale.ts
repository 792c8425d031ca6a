// How many replicas a Service has, said or found out.
import { z } from 'zod';
import { integer, withRules } from './fields.ts';

/** Containers of one Service, be they replicas or the slots of a Job: what is beyond is a typing error sooner than a wish. */
export const MAX_REPLICAS = 50_000;

export const Autoscale = withRules(
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
);
