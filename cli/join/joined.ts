// What a machine remembers of having joined: one file in the state folder, written last.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import { readRemembered } from './remembered.ts';

const joined = z.object({
  servers: z.array(z.string()).min(1),
  nodeName: z.string(),
  caHash: z.string(),
  /** Of this machine on the way to the server; absent where that is loopback. */
  ownAddress: z.string().optional(),
});
export type Joined = z.infer<typeof joined>;

const fileOf = (instance: Instance): string => join(instance.home, 'joined.json');

/** The cluster that this machine has joined; undefined when it has joined none. Throws Conflict when the file is damaged. */
export function readJoined(instance: Instance): Joined | undefined {
  // Taken for "none", a server would be started in the folder of a node, or the node join anew under another name.
  const remedy = 'put it back from a copy, or remove that file and join again with a new --token';
  return readRemembered(fileOf(instance), joined, remedy);
}

/** Further servers that the agent has learnt of; none when it has not. What cannot be read is learnt again. */
export function readLearntServers(instance: Instance): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(readFileSync(join(instance.home, 'servers.json'), 'utf8')));
  } catch {
    return [];
  }
}

export function writeJoined(instance: Instance, value: Joined): void {
  const file = fileOf(instance);
  replaceFile(file, JSON.stringify(value));
}

/** Throws Conflict when the folder is that of a node of another cluster: its files would be overwritten. */
export function refuseJoinedHome(instance: Instance): void {
  const there = readJoined(instance);
  if (!there) return;
  throw new WindlassError(
    'Conflict',
    `${instance.home} is that of node ${there.nodeName}, which has joined ${there.servers[0]}: choose another --home, or leave with: windlass down --purge`,
  );
}

/** Throws Conflict when the folder holds a control plane of its own. */
export function refuseServerHome(instance: Instance): void {
  if (!existsSync(join(paths.pki(instance), 'ca.key'))) return;
  throw new WindlassError(
    'Conflict',
    `${instance.home} is that of a server: choose another --home and --run for a node beside it`,
  );
}
