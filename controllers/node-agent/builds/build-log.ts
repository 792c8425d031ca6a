// The log of a build as files that the log reader knows: one attempt per build, rotated, the last two attempts kept.
//   <logs>/<namespace>_<name>_<uid>/build/<attempt>.log
import { mkdir, open, readdir, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../lib/clock.ts';
import { errnoOf } from '../../../lib/errors.ts';
import { listAttemptFiles, listAttempts, logDirectoryName, logPathOf } from '../logs/log-files.ts';
import { rotateLog } from '../logs/rotate-log.ts';

const LIMITS = { maxSizeBytes: 10 * 1024 * 1024, maxFiles: 5 } as const;
/** The one log of an Image, where a container has one by its name. */
const LOG_NAME = 'build';

/** Whose log it is. */
export interface LogOwner {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface BuildLog {
  readonly attempt: number;
  /** Adds whole lines, each with the time of now. */
  write(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Folder of the log files of one Image. */
export const buildLogFolder = (root: string, { namespace, name, uid }: LogOwner): string =>
  join(root, logDirectoryName(namespace, name, uid), LOG_NAME);

/** Begins the log of one more build; of those before only the last stays. */
export async function openBuildLog(root: string, owner: LogOwner, clock: Clock): Promise<BuildLog> {
  const folder = buildLogFolder(root, owner);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const attempts = await listAttempts(folder);
  for (const old of attempts.slice(0, -1)) {
    for (const file of await listAttemptFiles(folder, old)) await rm(file, { force: true });
  }
  const attempt = (attempts.at(-1) ?? -1) + 1;
  const path = join(root, logDirectoryName(owner.namespace, owner.name, owner.uid), logPathOf(LOG_NAME, attempt));
  let file: FileHandle = await open(path, 'a', 0o600);
  let sizeBytes = 0;
  const reopen = async (): Promise<void> => {
    await file.close();
    file = await open(path, 'a', 0o600);
    sizeBytes = 0;
  };
  return {
    attempt,
    async write(text) {
      const time = new Date(clock.now()).toISOString();
      const lines = text.replace(/\n$/, '').split('\n');
      const bytes = Buffer.from(lines.map((line) => `${time} stdout F ${line}\n`).join(''));
      await file.appendFile(bytes);
      sizeBytes += bytes.length;
      if (sizeBytes >= LIMITS.maxSizeBytes) await rotateLog(path, attempt, LIMITS, reopen, clock.now());
    },
    close: () => file.close(),
  };
}

/** Removes the logs of Images whose UID `isKnown` does not know. */
export async function removeStrayBuildLogs(root: string, isKnown: (uid: string) => boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(root);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const name of names) {
    if (!isKnown(name.slice(name.lastIndexOf('_') + 1))) await rm(join(root, name), { recursive: true, force: true });
  }
}
