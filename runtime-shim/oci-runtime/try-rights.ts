// What this host's kernel, file system and OCI runtime can do together is found out by trying: a program of the host is
// run in a container of that kind. The outcome is kept for as long as kernel, runtime and folder are the same.
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { openCgroups } from '../cgroups/cgroups.ts';
import { withIdMapped } from '../host/idmapped-mount.ts';
import { MNT, mountOverlay, mountTmpfs, umount } from '../host/mount.ts';
import { unpinNamespace } from '../host/namespaces.ts';
import type { Spawner } from '../host/spawn.ts';
import { createUserNamespace } from '../host/user-namespace.ts';
import type { OciMount } from './oci-spec.ts';
import { HOST_SYSFS } from './spec-mounts.ts';
import { runProgram } from './run-program.ts';
import { findProgram, openOciRuntime } from './runtime.ts';
import { mapText } from './user-namespace.ts';

const TRIAL_MS = 10_000;
/** Far from every id in use; the trial is the range's only user. */
const TRIAL_MAPPING = { containerID: 0, hostID: 0x7ff0_0000, size: 65_536 };

export interface RuntimeRights {
  /** User namespaces with id-mapped layers. */
  readonly userNamespaces: boolean;
  /** The same in the host's network. */
  readonly userNamespacesHostNetwork: boolean;
  readonly recursiveReadOnly: boolean;
}

export interface TryRightsOptions {
  readonly instance: Instance;
  readonly spawner: Spawner;
  readonly log: Logger;
  /** As chooseOciRuntime() gave it. */
  readonly ociRuntime: string;
}

/** Tries, or says what an earlier trial of the same things has shown. */
export async function tryRights(options: TryRightsOptions): Promise<RuntimeRights> {
  const { instance } = options;
  const file = join(paths.shimState(instance), 'rights.json');
  const key = describeHost(options);
  try {
    const known = JSON.parse(readFileSync(file, 'utf8')) as { key: string; rights: RuntimeRights };
    if (known.key === key) return known.rights;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && !(error instanceof SyntaxError)) throw error;
  }
  const folder = (name: string): string => join(paths.shimState(instance), `trial-${name}`);
  const [recursiveReadOnly, userNamespaces, userNamespacesHostNetwork] = await Promise.all([
    tryOut(options, 'recursive read-only mounts', () => tryReadOnly(options, folder('rro'))),
    tryOut(options, 'user namespaces', () => tryUserNamespace(options, folder('userns'), [])),
    tryOut(options, "user namespaces in the host's network", () =>
      tryUserNamespace(options, folder('hostnet'), [HOST_SYSFS]),
    ),
  ]);
  const rights = { recursiveReadOnly, userNamespaces, userNamespacesHostNetwork };
  writeFileSync(`${file}.tmp`, JSON.stringify({ key, rights }), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
  return rights;
}

function describeHost({ instance, ociRuntime, spawner }: TryRightsOptions): string {
  const { program } = openOciRuntime(ociRuntime, join(paths.shimState(instance), 'runtime'), spawner);
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return JSON.stringify([kernel, program, statSync(program).mtimeMs, statSync(instance.home).dev]);
}

async function tryOut({ log }: TryRightsOptions, what: string, trial: () => Promise<void>): Promise<boolean> {
  try {
    await trial();
    return true;
  } catch (error) {
    log.info({ reason: messageOf(error) }, `${what} do not work here`);
    return false;
  }
}

async function tryReadOnly(options: TryRightsOptions, folder: string): Promise<void> {
  const source = join(folder, 'source');
  const clean = (): void => {
    umount(join(source, 'below'), MNT.detach);
    rmSync(folder, { recursive: true, force: true });
  };
  clean();
  try {
    for (const name of ['root/mnt', 'root/dev', 'source/below'])
      mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
    mountTmpfs(join(source, 'below'), 'size=64k');
    await run(options, folder, {
      root: 'root',
      command: 'if (: > /mnt/below/file) 2>/dev/null; then exit 1; fi',
      mounts: [{ destination: '/mnt', type: 'bind', source, options: ['rbind', 'rprivate', 'rro'] }],
      linux: {},
    });
  } finally {
    clean();
  }
}

/** Layers where the images' are, with a file that must be the container's root's own. */
async function tryUserNamespace(options: TryRightsOptions, folder: string, mounts: readonly OciMount[]): Promise<void> {
  const { instance, spawner } = options;
  const store = join(instance.home, basename(folder));
  const [root, pin] = [join(folder, 'root'), join(folder, 'user')];
  const clean = (): void => {
    umount(root, MNT.detach);
    unpinNamespace(pin);
    for (const path of [folder, store]) rmSync(path, { recursive: true, force: true });
  };
  clean();
  try {
    for (const path of [root, ...['work', 'lower/dev', 'lower/sys', 'upper'].map((name) => join(store, name))]) {
      mkdirSync(path, { recursive: true, mode: 0o755 });
    }
    chownSync(join(store, 'upper'), TRIAL_MAPPING.hostID, TRIAL_MAPPING.hostID);
    writeFileSync(join(store, 'lower', 'file'), '');
    const map = mapText([TRIAL_MAPPING]);
    await createUserNamespace(spawner, {
      ...{ pins: { user: pin }, uidMap: map, gidMap: map },
      unsharePath: findProgram('unshare') ?? '/usr/bin/unshare',
      signal: AbortSignal.timeout(TRIAL_MS),
    });
    withIdMapped([join(store, 'lower')], pin, (lowerDirs) =>
      mountOverlay({ lowerDirs, upperDir: join(store, 'upper'), workDir: join(store, 'work'), target: root }),
    );
    await run(options, folder, {
      root,
      command: 'test -O /file && test "$(cat /proc/self/uid_map | wc -l)" = 1 && echo > /file',
      mounts,
      linux: { uidMappings: [TRIAL_MAPPING], gidMappings: [TRIAL_MAPPING] },
      userNamespace: pin,
    });
  } finally {
    clean();
  }
}

interface Trial {
  readonly root: string;
  /** For the host's own shell. */
  readonly command: string;
  readonly mounts: readonly OciMount[];
  readonly linux: object;
  readonly userNamespace?: string;
}

async function run({ instance, spawner, ociRuntime }: TryRightsOptions, folder: string, trial: Trial): Promise<void> {
  const parent = kernelNames.cgroupParent(instance);
  openCgroups().create(parent);
  const id = `${basename(folder)}-${instance.id}`;
  const { root, command, mounts, userNamespace } = trial;
  const programs = ['/bin', '/lib', '/lib64', '/usr'].filter((path) => existsSync(path));
  const spec = {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/sh', '-c', command],
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/',
      noNewPrivileges: true,
    },
    root: { path: root, readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      ...programs.map((path) => ({ destination: path, source: path, options: ['rbind', 'ro'] })),
      ...mounts,
    ],
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type })),
        ...(mounts.includes(HOST_SYSFS) ? [] : [{ type: 'network' }]),
        ...(userNamespace === undefined ? [] : [{ type: 'user', path: userNamespace }]),
      ],
      cgroupsPath: `${parent}/${id}`,
      resources: { devices: [{ allow: false, access: 'rwm' }], pids: { limit: 16 } },
      ...trial.linux,
    },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  const runtime = openOciRuntime(ociRuntime, join(folder, 'state'), spawner);
  const argv = [runtime.path, ...runtime.globalArgs, 'run', '--bundle', folder, id];
  const signal = AbortSignal.timeout(TRIAL_MS);
  const { code, stdout, stderr } = await runProgram(spawner, { file: runtime.path, argv, signal });
  if (code !== 0) throw new Error(`${runtime.kind} ended with ${code}: ${(stderr + stdout).trim()}`);
}
