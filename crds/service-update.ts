// How a changed template reaches the Containers of a Service.
import { z } from 'zod';
import { integer, seconds } from './fields.ts';

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
