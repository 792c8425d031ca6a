// Mount sources that a container may have had its hands on since they were resolved: looked at once more, step by step,
// just before the runtime gets them. (It cannot be given an open one: it mounts in a namespace of its own.)
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { ContainerConfig } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { noFollowOf } from './annotations.ts';

/** open(2): a handle of the place itself, without the right to read it. */
export const O_PATH = 0o10000000;

/** Throws Invalid when a source that the caller named leads over a link, or did when `planned` sources were found. */
export function checkLinkFreeSources(config: ContainerConfig, planned: ReadonlySet<string | undefined>): void {
  const wanted = new Set(noFollowOf(config.annotations));
  for (const [index, mount] of config.mounts.entries()) {
    if (!wanted.has(mount.containerPath) || mount.image) continue;
    const label = `mounts[${index}] (${mount.containerPath})`;
    closeSync(openWithoutLinks(mount.hostPath, label));
    if (!planned.has(mount.hostPath)) {
      throw new WindlassError('Invalid', `${label}: host path ${mount.hostPath} led over a link a moment ago`);
    }
  }
}

/** A handle of what lies at `path`, the caller's to close. Throws Invalid when a step of it is a link or is not there. */
export function openWithoutLinks(path: string, label: string): number {
  let current = openSync('/', O_PATH | constants.O_DIRECTORY);
  for (const step of path.split('/').filter((part) => part !== '')) {
    const parent = current;
    try {
      current = openSync(`/proc/self/fd/${parent}/${step}`, O_PATH | constants.O_NOFOLLOW);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
      throw new WindlassError('Invalid', `${label}: host path ${path} does not exist any more`, { cause: error });
    } finally {
      closeSync(parent);
    }
    // O_PATH opens the link itself.
    if (fstatSync(current).isSymbolicLink()) {
      closeSync(current);
      throw new WindlassError('Invalid', `${label}: ${step} in host path ${path} is a link, which is not followed`);
    }
  }
  return current;
}
