// A Service that comes to an end: its numbers, and when it is run again.
import { z } from 'zod';
import { CRON, CRON_WORDS } from './cron.ts';
import { integer, seconds, worded } from './fields.ts';
import { MAX_REPLICAS } from './service-scale.ts';

export const Job = z.object({
  completions: integer(1, MAX_REPLICAS).default(1).describe('How many must end with exit code 0.'),
  parallelism: integer(1, MAX_REPLICAS)
    .default(1)
    .describe('How many run at the same time; fewer ends some, more starts some at once.'),
  backoffLimit: integer(0, MAX_REPLICAS)
    .default(6)
    .describe('How many failures another try makes good, after growing pauses; with one more the job has failed.'),
});

export const Schedule = z.object({
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
});
