// Process 1 of the pid namespace that the containers of a sandbox share (CRI's mode POD): it waits, reaps what is left to
// it, and is none of the containers. It is a container of its own, with nothing but its program in its root and no
// capability, since a container that may trace its neighbours sees through /proc/1 what the holder sees.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import { bundleFiles } from '../oci-runtime/conmon.ts';
import { endProcesses, findByArgument } from '../oci-runtime/monitors.ts';
import { stringifySpec, type OciSpec } from '../oci-runtime/oci-spec.ts';
import { findProgram } from '../oci-runtime/runtime.ts';
import { defaultSeccompProfile } from '../oci-runtime/seccomp-profile.ts';
import type { SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { removeCgroup } from './end-group.ts';
import { getSandbox } from './lookup.ts';

const START_MS = 30_000;
const END_MS = 30_000;
/** A static program of Debian: waits for ever as process 1 and reaps (catatonit(1), -P). */
const PROGRAM = 'catatonit';

/** For one task, but runc's own init has the threads of a Go program and dies when it cannot make them. */
const MAX_TASKS = 64;

/** Its name with the OCI runtime. */
export const holderId = (sandboxId: string): string => `pid-${sandboxId}`;
/** Its bundle, in the folder of its sandbox. */
export const bundleOf = ({ directory }: Pick<SandboxRecord, 'directory'>): string => join(directory, 'pid-holder');
const cgroupOf = (shim: Shim, sandboxId: string): string => `${shim.cgroupParent}/${holderId(sandboxId)}`;

/**
 * The sandbox's pid holder, made when it is asked for first and again when it was killed (with it died every process of
 * the namespace). Conflict when the sandbox is not ready.
 */
export function ensurePidHolder(shim: Shim, sandboxId: string): Promise<ProcessIdentity> {
  return shim.queue.run(holderId(sandboxId), async () => {
    const { pidHolder } = getReady(shim, sandboxId);
    if (pidHolder && pidHolder !== 'planned' && isRunning(pidHolder)) return pidHolder;
    await removeHolder(shim, getReady(shim, sandboxId));
    shim.store.sandboxes.save({ ...getReady(shim, sandboxId), pidHolder: 'planned' });
    const holder = await startHolder(shim, getReady(shim, sandboxId));
    shim.store.sandboxes.save({ ...getReady(shim, sandboxId), pidHolder: holder });
    return holder;
  });
}

/** Ends the pid holder, and with it every process of its namespace; none = success. */
export function removePidHolder(shim: Shim, sandboxId: string): Promise<void> {
  return shim.queue.run(holderId(sandboxId), async () => {
    const record = shim.store.sandboxes.get(sandboxId);
    if (record) await removeHolder(shim, record);
  });
}

function getReady(shim: Shim, sandboxId: string): SandboxRecord {
  const record = getSandbox(shim, sandboxId);
  if (record.phase !== 'ready') throw new WindlassError('Conflict', `sandbox ${sandboxId} is not ready`);
  return record;
}

async function startHolder(shim: Shim, record: SandboxRecord): Promise<ProcessIdentity> {
  const bundle = bundleOf(record);
  const spec = shim.filters.apply(planHolder(shim, record));
  // Made here: root of a user namespace could not.
  for (const name of ['proc', 'dev']) mkdirSync(join(spec.root.path, name), { recursive: true, mode: 0o755 });
  writeFileSync(join(spec.root.path, 'pid-holder'), '');
  writeFileSync(bundleFiles.config(bundle), stringifySpec(spec), { mode: 0o600 });
  const pid = await shim.runtime.runDetached(holderId(record.id), bundle, AbortSignal.timeout(START_MS));
  const holder = identifyProcess(pid);
  if (!holder) throw new WindlassError('Internal', `the pid holder of sandbox ${record.id} ended at once`);
  shim.filters.learn(holderId(record.id), spec);
  return holder;
}

function planHolder(shim: Shim, record: SandboxRecord): OciSpec {
  const program = findProgram(PROGRAM);
  if (program === undefined) {
    throw new WindlassError('Unavailable', `${PROGRAM} is not installed: it holds a shared pid namespace`);
  }
  const { user, ipc, net } = record.namespaces;
  const none: readonly string[] = [];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 65534, gid: 65534, additionalGids: [] },
      args: ['/pid-holder', '-P'],
      env: [],
      cwd: '/',
      capabilities: { bounding: none, effective: none, permitted: none, inheritable: none, ambient: none },
      noNewPrivileges: true,
    },
    root: { path: join(bundleOf(record), 'root'), readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755', 'size=64k'] },
      { destination: '/pid-holder', type: 'bind', source: program, options: ['bind', 'rprivate', 'ro'] },
    ],
    linux: {
      namespaces: [
        ...[{ type: 'mount' }, { type: 'cgroup' }, { type: 'pid' }],
        ...(user === undefined ? [] : [{ type: 'user', path: user.path }]),
        // Only those of its own that exist: what it is in must not reach the host's.
        ...(ipc === undefined ? [{ type: 'ipc' }] : [{ type: 'ipc', path: ipc }]),
        ...(net === undefined ? [{ type: 'network' }] : [{ type: 'network', path: net }]),
      ],
      ...(user === undefined ? {} : { uidMappings: user.mapping.uids, gidMappings: user.mapping.gids }),
      devices: [],
      cgroupsPath: cgroupOf(shim, record.id),
      resources: { devices: [{ allow: false, access: 'rwm' }], pids: { limit: MAX_TASKS } },
      sysctl: {},
      maskedPaths: [],
      readonlyPaths: [],
      seccomp: defaultSeccompProfile([]),
    },
  };
}

async function removeHolder(shim: Shim, record: SandboxRecord): Promise<void> {
  const { pidHolder } = record;
  if (pidHolder === undefined) return;
  const signal = AbortSignal.timeout(END_MS);
  // A runtime that a killed shim had started may still be at it.
  if (pidHolder === 'planned') {
    const left = findByArgument((argument) => argument === bundleOf(record));
    await endProcesses(left, 0, signal);
  }
  await shim.cgroups.killAll(cgroupOf(shim, record.id), signal);
  await shim.runtime.delete(holderId(record.id), pidHolder === 'planned' ? undefined : pidHolder, signal);
  await removeCgroup(shim, cgroupOf(shim, record.id), signal);
  rmSync(bundleOf(record), { recursive: true, force: true });
  const { pidHolder: _, ...rest } = shim.store.sandboxes.get(record.id) ?? record;
  shim.store.sandboxes.note(rest);
}
