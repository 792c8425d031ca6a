// Resolves a path below a folder that containers can write to, without following links: a container must not be able
// to point the agent, which is root, out of its volume.
import { constants } from 'node:fs';
import { mkdir, open, readlink, type FileHandle } from 'node:fs/promises';
import { errnoOf, TerminalError } from '../../../lib/errors.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_PATH_FALLBACK } = { ...constants, O_PATH_FALLBACK: 0o10000000 };

/** The steps of a relative path; throws for one that is absolute or climbs. */
export function pathSteps(path: string): string[] {
  const steps = path.split('/').filter((step) => step !== '' && step !== '.');
  if (path.startsWith('/') || steps.includes('..') || path.includes('\0')) {
    throw new TerminalError('InvalidSubPath', `path ${JSON.stringify(path)} must be relative and without ".."`);
  }
  return steps;
}

/**
 * The real path of `subPath` below `root`; folders that are missing are made (mode 0755). Each step is opened
 * relative to the descriptor of the one before, so that a link put in place in the meantime is not followed.
 */
export async function resolveBelow(root: string, subPath: string): Promise<string> {
  const steps = pathSteps(subPath);
  let current = await open(root, O_RDONLY | O_DIRECTORY);
  try {
    for (const [index, step] of steps.entries()) {
      const next = await openStep(current, step, index === steps.length - 1, subPath);
      await current.close();
      current = next;
    }
    return await readlink(`/proc/self/fd/${current.fd}`);
  } finally {
    await current.close();
  }
}

async function openStep(parent: FileHandle, step: string, isLast: boolean, subPath: string): Promise<FileHandle> {
  const path = `/proc/self/fd/${parent.fd}/${step}`;
  // The last step may be a file: O_PATH opens anything, also a fifo, without side effects.
  const flags = isLast ? O_PATH_FALLBACK | O_NOFOLLOW : O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const handle = await open(path, flags);
      // O_PATH with O_NOFOLLOW opens a link itself instead of failing.
      if (isLast && (await handle.stat()).isSymbolicLink()) {
        await handle.close();
        throw linkError(subPath, step);
      }
      return handle;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ELOOP') throw linkError(subPath, step, error);
      if (code === 'ENOTDIR') {
        throw new TerminalError('InvalidSubPath', `subPath ${subPath}: ${step} is a symbolic link or not a folder`, {
          cause: error,
        });
      }
      if (code !== 'ENOENT' || attempt > 0) throw error;
      await mkdir(path, { mode: 0o755 }).catch((mkdirError: unknown) => {
        if (errnoOf(mkdirError) !== 'EEXIST') throw mkdirError;
      });
    }
  }
}

function linkError(subPath: string, step: string, cause?: unknown): TerminalError {
  return new TerminalError('InvalidSubPath', `subPath ${subPath}: ${step} is a symbolic link, which is not followed`, {
    cause,
  });
}
