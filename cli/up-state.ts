// What a running `windlass up` tells other commands: one JSON file in the run folder, replaced as a whole.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { claimFile, readClaim } from '../lib/claim-file.ts';
import { errnoOf, WindlassError } from '../lib/errors.ts';
import type { Instance } from '../lib/instance.ts';
import type { ProcessIdentity } from '../lib/process-identity.ts';

const identity = z.object({ pid: z.number().int(), startTime: z.number() });

const upState = z.object({
  up: identity,
  /** The sub-command that runs: up, server or node. */
  command: z.string().default('up'),
  /** The API server: for `node` that which it has joined. */
  url: z.string().default(''),
  /** What to tell the user once all is ready. */
  nextSteps: z.string().default(''),
  kubeconfig: z.string(),
  /** True once every component has been ready. */
  ready: z.boolean(),
  failure: z.string().optional(),
  components: z.array(
    z.object({
      name: z.string(),
      state: z.enum(['starting', 'ready', 'restarting', 'stopped']),
      detail: z.string(),
      process: identity.optional(),
      restarts: z.number().int(),
    }),
  ),
});
export type UpState = z.infer<typeof upState>;

const lockPath = (instance: Instance): string => join(instance.run, 'up.lock');
const statePath = (instance: Instance): string => join(instance.run, 'up.json');

/** The state of the last `up` of the instance; undefined when there is none (or the file is not ours to read). */
export function readUpState(instance: Instance): UpState | undefined {
  try {
    return upState.parse(JSON.parse(readFileSync(statePath(instance), 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/**
 * Makes this process the instance's one `up`; Conflict when another one lives. A claim of a process that is gone is
 * taken over, so that nothing has to be given back.
 */
export const claimUp = (instance: Instance, self: ProcessIdentity): void =>
  claimFile(lockPath(instance), self, ({ pid }) => alreadyRunning(pid));

/** The living process that claimed the instance, which it does before it says anything in its state. */
export const readUpClaim = (instance: Instance): ProcessIdentity | undefined => readClaim(lockPath(instance));

export const alreadyRunning = (pid: number): WindlassError =>
  new WindlassError('Conflict', `already running as process ${pid}; stop it with: windlass down`);

export function writeUpState(instance: Instance, state: UpState): void {
  mkdirSync(instance.run, { recursive: true, mode: 0o711 });
  const temporary = `${statePath(instance)}.tmp`;
  writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
  renameSync(temporary, statePath(instance));
}

export function removeUpState(instance: Instance): void {
  rmSync(statePath(instance), { force: true });
}
