// Exit files: conmon renames `<containerId>` with the exit code into one folder when a container ends. Notifications
// can be merged or lost (a queue that overflows tells libuv nothing), and a host may have no watch left to give, so the
// folder is also read every second.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isAbort } from '../../lib/errors.ts';

const RESCAN_MS = 1_000;
const RESCAN_UNWATCHED_MS = 100;

export interface ExitFiles {
  readonly folder: string;
  /** Exit code of a container that ended; undefined while there is no file. */
  read(containerId: string): number | undefined;
  forget(containerId: string): void;
  /**
   * Calls `onExit` with the id of each file that appears (more than once while it stays), `onTick` every second, and
   * `onUnwatched` when it must do without notifications, until `signal` fires.
   */
  run(
    handlers: { onExit(containerId: string): void; onTick(): void; onUnwatched(error: unknown): void },
    signal: AbortSignal,
  ): Promise<void>;
}

export type WatchFolder = (folder: string, onChange: (name: string | null) => void) => FSWatcher;

const watchFolder: WatchFolder = (folder, onChange) =>
  watch(folder, { persistent: false }, (_event, name) => onChange(name));

/** The exit files in `folder`, which is made if absent. */
export function openExitFiles(folder: string, watchBy: WatchFolder = watchFolder): ExitFiles {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // conmon's temporary names start with a dot or end in one more suffix: only whole ids count.
  const isId = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);
  return {
    folder,
    read(containerId) {
      const file = join(folder, containerId);
      // Asked about running containers again and again: an error with a stack each time is dear.
      if (!existsSync(file)) return undefined;
      try {
        const text = readFileSync(file, 'utf8').trim();
        return /^-?\d+$/.test(text) ? Number(text) : undefined;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    forget: (containerId) => rmSync(join(folder, containerId), { force: true }),
    async run({ onExit, onTick, onUnwatched }, signal) {
      let watcher: FSWatcher | undefined;
      const unwatch = (error: unknown): void => {
        watcher?.close();
        watcher = undefined;
        onUnwatched(error);
      };
      try {
        watcher = watchBy(folder, (name) => {
          if (name !== null && isId(name)) onExit(name);
        });
        watcher.on('error', unwatch);
      } catch (error) {
        unwatch(error);
      }
      try {
        for (let tickAt = 0; !signal.aborted;) {
          // Made again if somebody removed it: conmon writes nowhere else.
          mkdirSync(folder, { recursive: true, mode: 0o700 });
          for (const name of readdirSync(folder).filter(isId)) onExit(name);
          if (performance.now() >= tickAt) {
            onTick();
            tickAt = performance.now() + RESCAN_MS;
          }
          await sleep(watcher ? RESCAN_MS : RESCAN_UNWATCHED_MS, undefined, { signal });
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        watcher?.close();
      }
    },
  };
}
