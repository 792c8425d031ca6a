// Which OCI runtime `auto` stands for: crun, which takes a fraction of runc's time, if it is there and proves to work on
// this host; else runc. Containers that exist stay with the runtime that made them.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { openCgroups } from '../cgroups/cgroups.ts';
import { umountTree } from '../host/mount.ts';
import type { Spawner } from '../host/spawn.ts';
import { writeRecordFile } from '../store/record-file.ts';
import { runProgram } from './run-program.ts';
import { findProgram, openOciRuntime } from './runtime.ts';
import { defaultSeccompProfile } from './seccomp-profile.ts';

const TRIAL_MS = 10_000;
const ADVICE = 'install runc (Debian and Ubuntu: apt-get install runc), or name a runtime with --oci-runtime';

export interface ChooseOptions {
  readonly instance: Instance;
  readonly spawner: Spawner;
  readonly log: Logger;
  /** Where programs are looked for; default: the PATH. */
  readonly find?: typeof findProgram;
}

/**
 * The name to open the runtime by. A setting other than `auto` stands. Unavailable, with what can be done, when there is
 * neither a crun that works nor runc.
 */
export async function chooseOciRuntime(
  setting: string,
  { instance, spawner, log, find = findProgram }: ChooseOptions,
): Promise<string> {
  const state = paths.shimState(instance);
  const folder = join(state, 'runtime');
  const choiceFile = join(state, 'oci-runtime');
  if (setting !== 'auto') return remember(setting);
  if (existsSync(folder) && readdirSync(folder).length > 0) return existsSync(choiceFile) ? readChoice() : 'runc';
  const [crun, hasRunc] = [find('crun'), find('runc') !== undefined];
  if (crun === undefined) {
    if (!hasRunc) throw new WindlassError('Unavailable', `neither runc nor crun is installed: ${ADVICE}`);
    return remember('runc');
  }
  try {
    await tryCrun(instance, spawner, crun);
    return remember('crun');
  } catch (error) {
    if (!hasRunc) {
      const why = `crun (${crun}) does not work on this host and runc is not installed: ${ADVICE}`;
      throw new WindlassError('Unavailable', `${why}. What crun said: ${messageOf(error)}`, { cause: error });
    }
    log.info({ reason: messageOf(error) }, 'crun does not work here: runc is used');
    return remember('runc');
  }

  function remember(choice: string): string {
    mkdirSync(state, { recursive: true, mode: 0o711 });
    // Not on every start: a full disk must not keep the shim from coming back.
    if (!existsSync(choiceFile) || readChoice() !== choice) writeRecordFile(choiceFile, choice);
    return choice;
  }
  function readChoice(): string {
    return readFileSync(choiceFile, 'utf8').trim();
  }
}

/** Runs a container with what ours have (limits, device rules, filter) on the host's own programs; throws if it fails. */
async function tryCrun(instance: Instance, spawner: Spawner, program: string): Promise<void> {
  const bundle = join(paths.shimState(instance), 'trial');
  const parent = kernelNames.cgroupParent(instance);
  const group = `${parent}/trial`;
  const cgroups = openCgroups();
  cgroups.create(parent);
  // crun opens the root's /dev, whatever is mounted there.
  mkdirSync(join(bundle, 'rootfs', 'dev'), { recursive: true, mode: 0o700 });
  try {
    const spec = trialSpec(group);
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
    const runtime = openOciRuntime(program, join(bundle, 'state'), spawner);
    using command = runtime.command(spec.linux, { root: '', sources: [], pins: [], logPath: undefined });
    command.setLimits();
    const { code, stderr } = await runProgram(spawner, {
      file: command.path,
      argv: [command.path, ...command.args, 'run', '--bundle', bundle, `trial-${instance.id}`],
      env: command.env,
      signal: AbortSignal.timeout(TRIAL_MS),
    });
    if (code !== 0) throw new Error(stderr.trim() || `crun ended with ${code}`);
  } finally {
    await cgroups.killAll(group, AbortSignal.timeout(TRIAL_MS));
    cgroups.remove(group);
    umountTree(bundle);
    rmSync(bundle, { recursive: true, force: true });
  }
}

function trialSpec(cgroupsPath: string) {
  const folders = ['/bin', '/lib', '/lib64', '/usr'].filter((folder) => existsSync(folder));
  const capabilities = ['CAP_KILL'];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/true'],
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      ...folders.map((folder) => ({ destination: folder, source: folder, options: ['rbind', 'ro'] })),
    ],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
      cgroupsPath,
      resources: { devices: [{ allow: false, access: 'rwm' }], pids: { limit: 16 }, memory: { limit: 64 * 2 ** 20 } },
      seccomp: defaultSeccompProfile(capabilities),
    },
  };
}
