import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { loadConfig } from '../../lib/config.ts';
import { WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { claimFolders } from '../instance-folders.ts';
import { instanceFlags, instanceOf, instanceOptions } from '../options.ts';
import { describeRecovered, forgetMembership, refuseOneOfSeveral } from '../etcd-member.ts';
import { requireRoot } from '../preflight.ts';
import { restore } from '../recover/restore.ts';
import { checkSnapshot, newestSnapshot } from '../recover/snapshot-file.ts';
import { alreadyRunning, claimUp, readUpState } from '../up-state.ts';

const recoverOptions = instanceOptions.extend({
  from: z
    .string()
    .transform((path) => resolve(path))
    .optional(),
  alone: z.boolean().default(false),
  raiseRevision: z.coerce.number().int().min(0).default(100_000),
});

export const recoverCommand: Command = {
  name: 'recover',
  summary: 'Put a snapshot of the store in place of what is there, or of what was lost',
  usage: 'windlass recover [--from FILE] [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--from FILE', text: 'the snapshot (default: the newest of the state folder)' },
    { flag: '--alone', text: 'of several servers: this one goes on alone, and the others join it anew' },
    {
      flag: '--raise-revision N',
      text: 'more than was written since that snapshot (default 100000), so that no resourceVersion comes twice',
    },
  ],
  examples: ['windlass recover', 'windlass recover --from /backup/etcd-20260131T120000Z.db'],
  async run({ argv, env, output, signal }) {
    const { config } = loadConfig(recoverOptions, { argv, env });
    const instance = instanceOf(config);
    requireRoot('recover');
    const state = readUpState(instance);
    if (state && isRunning(state.up)) throw alreadyRunning(state.up.pid);
    if (state?.components.some((component) => component.process && isRunning(component.process))) {
      throw new WindlassError('Conflict', 'parts of windlass still run; stop them with: windlass down');
    }
    if (!existsSync(join(paths.pki(instance), 'etcd-ca.crt'))) {
      throw new WindlassError(
        'NotFound',
        `${instance.home} is not that of a server with an etcd of its own: recover where its pki folder is, or put it back first`,
      );
    }
    if (!config.alone) refuseOneOfSeveral(instance);
    const file = config.from ?? newestSnapshot(paths.etcdSnapshots(instance));
    await checkSnapshot(file);
    claimFolders(instance);
    claimUp(instance, identifyProcess(process.pid) as ProcessIdentity);
    output.note(`recovering from ${file}; raising the revision takes about a minute`);
    const member = await describeRecovered(instance);
    const recovery = { file, member, raiseBy: config.raiseRevision, path: env['PATH'], now: Date.now() };
    const old = await restore(instance, recovery, signal);
    forgetMembership(instance);
    if (old !== undefined) output.note(`what was there before is kept in ${old}`);
    output.note('recovered; start it with: windlass up or windlass server');
    return EXIT.ok;
  },
};
