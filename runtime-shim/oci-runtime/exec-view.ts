// The mounts that crun sees when it runs a further program in a container. It reads all of them, and needs none of those
// that containers are made of.
import { close, mkdirSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import { openBareView } from '../host/bare-view.ts';
import { bindMount } from '../host/mount.ts';
import type { MountedView } from '../host/mounted-view.ts';
import { seal } from './read-only-program.ts';

export interface ExecViewOptions {
  readonly program: string;
  /** The same on a read-only mount. */
  readonly sealedProgram: string;
  /** State folder of the runtime. */
  readonly root: string;
  /** Where this process mounts what containers are made of; without any there is no view. */
  readonly mountFolders: readonly string[];
  /** Set for the program; files that it names have to be there. */
  env(): Readonly<Record<string, string>>;
}

/** Finds the view: made when it is asked for first, and anew when another program was sealed. Undefined = do without. */
export function planExecView(options: ExecViewOptions): () => number | undefined {
  const { program, sealedProgram, root, mountFolders, env } = options;
  let view: MountedView | undefined;
  let isRefused = mountFolders.length === 0;
  return () => {
    if (isRefused || !seal(program, sealedProgram)) return undefined;
    if (view?.isSame(sealedProgram)) return view.fd;
    for (const fd of view ? [view.fd, view.root] : []) close(fd);
    view = undefined;
    try {
      mkdirSync(root, { recursive: true, mode: 0o711 });
      view = openBareView({
        folders: mountFolders,
        needed: [root, program, ...Object.values(env())],
        inside: () => bindMount(program, sealedProgram, { readOnly: true }),
      });
    } catch (error) {
      // A host that does not let go of one of its mounts, for one.
      if (errnoOf(error) === undefined) throw error;
    }
    isRefused = !view?.isSame(sealedProgram) || !view.isSame(root);
    return isRefused ? undefined : view?.fd;
  };
}
