import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { loadConfig } from '../../lib/config.ts';
import { reasonOf, WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { readMembers } from '../etcd-member.ts';
import { checkFolders, removeFolders } from '../instance-folders.ts';
import { instanceFlags, instanceOf, instanceOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { requireRoot } from '../preflight.ts';
import { stopProcesses } from '../stop-processes.ts';

export const downCommand: Command = {
  name: 'down',
  summary: 'Stop the processes of windlass; with --purge remove every trace of the instance',
  usage: 'windlass down [--purge] [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--purge', text: 'also remove every container, mount, network and file of the instance' },
  ],
  examples: ['windlass down', 'windlass down --purge', 'windlass down --home /srv/windlass --run /run/windlass-two'],
  async run({ argv, env, output }) {
    const { config } = loadConfig(instanceOptions.extend({ purge: z.boolean().default(false) }), { argv, env });
    const instance = instanceOf(config);
    requireRoot('down');
    if (config.purge) checkFolders(instance);
    const wasRunning = await stopProcesses(instance);
    if (config.purge) {
      noteOfOthers(instance, output);
      await purgeHost(instance);
      removeFolders(instance);
      output.note(`removed every container, mount, link and file of instance ${instance.id}`);
    } else {
      output.note(
        wasRunning
          ? 'stopped; containers keep running (windlass down --purge removes them)'
          : 'windlass is not running',
      );
    }
    return EXIT.ok;
  },
};

/** The others count on a member that is gone until they are told. */
function noteOfOthers(instance: Instance, output: Pick<Output, 'note'>): void {
  const left = existsSync(paths.etcdData(instance)) ? readMembersIfWell(instance) : [];
  if (left.length < 2) return;
  const names = left.map(({ name }) => name).join(', ');
  output.note(
    `it was one of ${left.length} servers (${names}): on another one, windlass server remove NAME, if it has not left`,
  );
}

function readMembersIfWell(instance: Instance): ReturnType<typeof readMembers> {
  try {
    return readMembers(instance);
  } catch (error) {
    // What is removed need not be whole.
    if (reasonOf(error) === 'Conflict') return [];
    throw error;
  }
}

// The host's objects are known by the runtime shim alone, so its own program removes them.
async function purgeHost(instance: Instance): Promise<void> {
  if (!existsSync(instance.home) && !existsSync(instance.run)) return;
  const program = fileURLToPath(new URL('../../runtime-shim/purge.ts', import.meta.url));
  const child = spawn(process.execPath, [program, '--home', instance.home, '--run', instance.run], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0)
    throw new WindlassError(
      'Internal',
      `failed to purge instance ${instance.id}: ${errors.trim().split('\n').at(-1) ?? 'no reason given'}`,
    );
}
