// Exit files: conmon renames `<containerId>` with the exit code into one folder when a container ends. Notifications
// can be merged or lost, so the folder is also read from time to time.
import { mkdirSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isAbort } from '../../lib/errors.ts';

const RESCAN_MS = 1_000;

export interface ExitFiles {
  readonly folder: string;
  /** Exit code of a container that ended; undefined while there is no file. */
  read(containerId: string): number | undefined;
  forget(containerId: string): void;
  /** Calls `onExit` with the id of each file that appears, and `onTick` every second, until `signal` fires. */
  run(onExit: (containerId: string) => void, onTick: () => void, signal: AbortSignal): Promise<void>;
}

export function openExitFiles(folder: string): ExitFiles {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // conmon's temporary names start with a dot or end in one more suffix: only whole ids count.
  const isId = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);
  return {
    folder,
    read(containerId) {
      try {
        const text = readFileSync(join(folder, containerId), 'utf8').trim();
        return /^-?\d+$/.test(text) ? Number(text) : undefined;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    forget: (containerId) => rmSync(join(folder, containerId), { force: true }),
    async run(onExit, onTick, signal) {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name !== null && isId(name)) onExit(name);
      });
      try {
        while (!signal.aborted) {
          for (const name of readdirSync(folder).filter(isId)) onExit(name);
          onTick();
          await sleep(RESCAN_MS, undefined, { signal });
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        watcher.close();
      }
    },
  };
}
