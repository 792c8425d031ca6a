// How a command of the OCI runtime is started: on most hosts simply by its name. On a host with control groups v1, crun
// is handed the group instead of making and entering it, and on one with v1 and v2 a view without the v2 mount.
import type { CgroupMounts, Cgroups } from '../cgroups/cgroups.ts';
import { entrances, setOwnLimits, type OwnLimits } from '../cgroups/own-groups.ts';
import { openMountView, type MountView } from '../host/mount-view.ts';
import { seal, SEALED_ENV } from './read-only-program.ts';

export interface RuntimeCommand extends Disposable {
  readonly path: string;
  /** Before the command's own word. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where it has to be started to see the mounts that it may see; undefined = anywhere. */
  readonly mountNamespace: number | undefined;
  /** The same for somebody who enters the groups himself: their files, and what to execute then; not for a creation. */
  readonly inside: { readonly entrances: readonly string[]; readonly argv: readonly string[] } | undefined;
  /** Sets the limits of a container that was just created, where its runtime does not. */
  setLimits(): void;
}

export interface JoiningOptions {
  readonly program: string;
  /** The same on a read-only mount. */
  readonly sealedProgram: string;
  /** State folder of the runtime. */
  readonly root: string;
  readonly cgroups: Cgroups;
  readonly mounts: CgroupMounts;
  /** The mount to hide, and the one that holds it; undefined when there is none. */
  readonly hidden: { readonly mountPoint: string; readonly around: string } | undefined;
  readonly nsenter: string;
  /** A view that stays, in which all of `paths` are what they are here; undefined when there is none. */
  standingView(paths: CreationPaths): number | undefined;
  /** Set for every command. */
  env(): Readonly<Record<string, string>>;
}

/** What a creation needs to find on the host. */
export interface CreationPaths {
  /** Root file system, and where each bind mount comes from. */
  readonly root: string;
  readonly sources: readonly string[];
  /** Namespaces that it joins. */
  readonly pins: readonly string[];
  readonly logPath: string | undefined;
}

/** Enters the groups up to `--`, without a process per file, and becomes what follows. */
const JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done; shift; exec "$@"';

/** A command for the container in the control group `path`; one for its `creation` gets the group made. */
export function openJoiningCommand(
  options: JoiningOptions,
  group: { readonly path: string; readonly limits: OwnLimits },
  creation: CreationPaths | undefined,
): RuntimeCommand {
  const { cgroups, mounts, hidden } = options;
  if (creation) cgroups.create(group.path);
  const isSealed = seal(options.program, options.sealedProgram);
  const program = isSealed ? options.sealedProgram : options.program;
  const files = entrances(mounts, group.path);
  const argv = [program, '--cgroup-manager=disabled', '--root', options.root];
  const command = ['/bin/sh', '-c', JOIN, 'sh', ...files, '--', ...argv];
  // Only a creation looks at the mounts.
  const mountNamespace = creation && hidden ? options.standingView(creation) : undefined;
  const view: MountView | undefined =
    creation && hidden && mountNamespace === undefined ? openMountView(hidden.mountPoint, hidden.around) : undefined;
  const [path = '', ...args] = view === undefined ? command : [options.nsenter, `--mount=${view.path}`, ...command];
  return {
    ...{ path, args, env: { ...options.env(), ...(isSealed ? SEALED_ENV : {}) }, mountNamespace },
    inside: creation ? undefined : { entrances: files, argv },
    setLimits: () => setOwnLimits(cgroups, mounts, group.path, group.limits),
    [Symbol.dispose]: () => view?.[Symbol.dispose](),
  };
}
