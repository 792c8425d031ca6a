// When the one view that stays will do for a container: when everything the OCI runtime and conmon look for is in it.
import { statSync } from 'node:fs';
import type { MountedView } from '../host/mounted-view.ts';
import { openStandingView, shareFolder } from '../host/standing-view.ts';
import type { CreationPaths } from './runtime-command.ts';
import { isWithin } from './rooted-path.ts';

/** Finds the view for a creation; it is made when it is asked for first. Without `folders` there is none. */
export function planStandingView(
  hidden: string | undefined,
  folders: readonly string[],
): (paths: CreationPaths) => number | undefined {
  if (hidden === undefined || folders.length === 0) return () => undefined;
  for (const folder of folders) shareFolder(folder);
  let view: MountedView | undefined;
  return (paths) => {
    view ??= openStandingView(hidden, folders);
    return holdsAll(view, folders, paths) ? view.fd : undefined;
  };
}

function holdsAll(view: MountedView, folders: readonly string[], creation: CreationPaths): boolean {
  const { root, sources, pins, logPath } = creation;
  const isOurs = (path: string): boolean => folders.some((folder) => isWithin(path, folder));
  if (!isOurs(root)) return false;
  // What is mounted in the folders comes into the view by itself; somebody may have unmounted the folders, though.
  if (![root, ...pins.filter(isOurs), ...(logPath === undefined ? [] : [logPath])].every((path) => view.isSame(path)))
    return false;
  // Of another folder it is not known what is mounted below it.
  const isThere = (path: string): boolean => isOurs(path) || (isFile(path) && view.isSame(path));
  return sources.every(isThere);
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;
