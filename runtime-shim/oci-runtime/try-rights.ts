// What this host's kernel, file system and OCI runtime can do together is found out by trying: a program of the host is
// run in a container of that kind. Success is remembered for as long as kernel, runtime and folder are the same.
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { openCgroups } from '../cgroups/cgroups.ts';
import { withIdMapped } from '../host/idmapped-mount.ts';
import { MNT, mountOverlay, mountTmpfs, umount } from '../host/mount.ts';
import { unpinNamespace } from '../host/namespaces.ts';
import type { Spawner } from '../host/spawn.ts';
import { createUserNamespace } from '../host/user-namespace.ts';
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
  const rights = await tryAll(options);
  // What is missing may be put right before the next start.
  if (!Object.values(rights).every(Boolean)) return rights;
  writeFileSync(`${file}.tmp`, JSON.stringify({ key, rights }), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
  return rights;
}

/** Everything in one container; only where that fails, each by itself. */
async function tryAll(options: TryRightsOptions): Promise<RuntimeRights> {
  const attempt = (name: string, wanted: Partial<Wanted>): Promise<boolean> =>
    tryOut(options, name, { users: false, hostNetwork: false, readOnly: false, ...wanted });
  if (await attempt('all', { users: true, hostNetwork: true, readOnly: true })) {
    return { userNamespaces: true, userNamespacesHostNetwork: true, recursiveReadOnly: true };
  }
  const [userNamespaces, userNamespacesHostNetwork, recursiveReadOnly] = await Promise.all([
    attempt('users', { users: true }),
    attempt('users-hostnet', { users: true, hostNetwork: true }),
    attempt('read-only', { readOnly: true }),
  ]);
  return { userNamespaces, userNamespacesHostNetwork, recursiveReadOnly };
}

function describeHost({ instance, ociRuntime, spawner }: TryRightsOptions): string {
  const { program } = openOciRuntime(ociRuntime, join(paths.shimState(instance), 'runtime'), spawner);
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return JSON.stringify([kernel, program, statSync(program).mtimeMs, statSync(instance.home).dev]);
}

interface Wanted {
  readonly users: boolean;
  readonly hostNetwork: boolean;
  readonly readOnly: boolean;
}

async function tryOut(options: TryRightsOptions, name: string, wanted: Wanted): Promise<boolean> {
  const { instance, log } = options;
  const trial: Trial = {
    ...{ ...wanted, name: `trial-${name}` },
    folder: join(paths.shimState(instance), `trial-${name}`),
    // Layers lie where the images' do: their file system must play its part.
    store: join(instance.home, `trial-${name}`),
  };
  // It may be there from a run that was killed.
  clean(trial);
  try {
    await prepare(options, trial);
    await run(options, trial);
    return true;
  } catch (error) {
    log.info({ trial: name, reason: messageOf(error) }, 'not everything works here');
    return false;
  } finally {
    clean(trial);
  }
}

interface Trial extends Wanted {
  readonly name: string;
  readonly folder: string;
  readonly store: string;
}

const rootOf = ({ folder }: Trial): string => join(folder, 'root');
const pinOf = ({ folder }: Trial): string => join(folder, 'user');
const sourceOf = ({ folder }: Trial): string => join(folder, 'source');

function clean(trial: Trial): void {
  for (const target of [rootOf(trial), join(sourceOf(trial), 'below')]) umount(target, MNT.detach);
  unpinNamespace(pinOf(trial));
  for (const path of [trial.folder, trial.store]) rmSync(path, { recursive: true, force: true });
}

/** A root with a file, by id-mapped layers for a user namespace, and a folder with a mount in it. */
async function prepare({ spawner }: TryRightsOptions, trial: Trial): Promise<void> {
  const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(trial.store, name)) as [
    string,
    string,
    string,
  ];
  const folders = ['proc', 'sys', 'dev', 'mnt'].map((name) => join(lower, name));
  for (const path of [...folders, upper, work, rootOf(trial), join(sourceOf(trial), 'below')]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
  }
  writeFileSync(join(lower, 'file'), '');
  mountTmpfs(join(sourceOf(trial), 'below'), 'size=64k,mode=1777');
  const overlay = { upperDir: upper, workDir: work, target: rootOf(trial) };
  if (!trial.users) return mountOverlay({ ...overlay, lowerDirs: [lower] });
  const map = mapText([TRIAL_MAPPING]);
  await createUserNamespace(spawner, {
    ...{ pins: { user: pinOf(trial) }, uidMap: map, gidMap: map },
    unsharePath: findProgram('unshare') ?? '/usr/bin/unshare',
    signal: AbortSignal.timeout(TRIAL_MS),
  });
  chownSync(upper, TRIAL_MAPPING.hostID, TRIAL_MAPPING.hostID);
  withIdMapped([lower], pinOf(trial), (lowerDirs) => mountOverlay({ ...overlay, lowerDirs }));
}

/** Runs the host's own shell, which finds out whether it got what was wanted. */
async function run({ instance, spawner, ociRuntime }: TryRightsOptions, trial: Trial): Promise<void> {
  const parent = kernelNames.cgroupParent(instance);
  openCgroups().create(parent);
  const runtime = openOciRuntime(ociRuntime, join(trial.folder, 'state'), spawner);
  const argv = [runtime.path, ...runtime.globalArgs, 'run', '--bundle', trial.folder, `${trial.name}-${instance.id}`];
  writeFileSync(join(trial.folder, 'config.json'), JSON.stringify(trialSpec(trial, `${parent}/${trial.name}`)), {
    mode: 0o600,
  });
  const signal = AbortSignal.timeout(TRIAL_MS);
  const { code, stdout, stderr } = await runProgram(spawner, { file: runtime.path, argv, signal });
  if (code !== 0) throw new Error(`${runtime.kind} ended with ${code}: ${(stderr + stdout).trim()}`);
}

function trialSpec(trial: Trial, cgroupsPath: string): object {
  const { users, hostNetwork, readOnly } = trial;
  const checks = [
    ...(users ? ['test -O /file', 'echo > /file'] : []),
    ...(readOnly ? ['if (: > /mnt/below/file) 2>/dev/null; then exit 1; fi'] : []),
  ];
  const programs = ['/bin', '/lib', '/lib64', '/usr'].filter((path) => existsSync(path));
  const namespaces = ['pid', 'mount', 'ipc', 'uts', ...(hostNetwork ? [] : ['network'])].map((type) => ({ type }));
  const mapping = { uidMappings: [TRIAL_MAPPING], gidMappings: [TRIAL_MAPPING] };
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/sh', '-ec', checks.join('; ')],
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/',
      noNewPrivileges: true,
    },
    root: { path: rootOf(trial), readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      ...programs.map((path) => ({ destination: path, source: path, options: ['rbind', 'ro'] })),
      ...(hostNetwork ? [HOST_SYSFS] : []),
      {
        destination: '/mnt',
        type: 'bind',
        source: sourceOf(trial),
        options: ['rbind', 'rprivate', readOnly ? 'rro' : 'ro'],
      },
    ],
    linux: {
      namespaces: [...namespaces, ...(users ? [{ type: 'user', path: pinOf(trial) }] : [])],
      ...(users ? mapping : {}),
      cgroupsPath,
      resources: { devices: [{ allow: false, access: 'rwm' }], pids: { limit: 16 } },
    },
  };
}
