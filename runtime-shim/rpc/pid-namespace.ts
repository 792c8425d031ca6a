// The pid namespace of a container, by CRI's four modes.
import { statSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import type { ContainerConfig } from '../../cri/messages.ts';
import type { SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { ensurePidHolder } from './pid-holder.ts';

export interface PidNamespace {
  /** What to join; null = a new one; undefined = the host's. */
  readonly path: string | null | undefined;
  /** Which namespace that is: a pid in `path` may be another process's when the runtime opens it. */
  readonly inode?: number;
}

/** From the container's options, else the sandbox's; CRI's default, its zero value, is POD. */
export async function planPidNamespace(
  shim: Shim,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): Promise<PidNamespace> {
  const options =
    config.linux?.securityContext?.namespaceOptions ?? sandbox.config.linux?.securityContext?.namespaceOptions;
  const mode = options?.pid ?? 'POD';
  switch (mode) {
    case 'NODE':
      if (sandbox.namespaces.user) {
        throw new WindlassError('Invalid', "a container in a user namespace cannot have the host's pid namespace");
      }
      return { path: undefined };
    case 'CONTAINER':
      return { path: null };
    case 'POD':
      return namespaceOf(await ensurePidHolder(shim, sandbox.id), `sandbox ${sandbox.id}`);
    case 'TARGET': {
      const targetId = options?.targetId || sandbox.config.linux?.securityContext?.namespaceOptions?.targetId || '';
      return namespaceOf(findTarget(shim, sandbox, targetId), `container ${targetId}`);
    }
  }
}

function findTarget(shim: Shim, sandbox: SandboxRecord, targetId: string): ProcessIdentity {
  const target = shim.store.containers.list().find(({ id, sandboxId }) => id === targetId || sandboxId === targetId);
  if (target?.phase !== 'running' || !target.init) {
    throw new WindlassError('NotFound', `container ${targetId}, whose pid namespace is to be shared, is not running`);
  }
  const owner = shim.store.sandboxes.get(target.sandboxId)?.namespaces.user?.path;
  if (owner !== sandbox.namespaces.user?.path) {
    throw new WindlassError('Invalid', `container ${targetId} is in another user namespace: its pids cannot be shared`);
  }
  return target.init;
}

function namespaceOf(holder: ProcessIdentity, what: string): PidNamespace {
  const path = `/proc/${holder.pid}/ns/pid`;
  const inode = inodeOf(path);
  // Compared after the look: what was looked at is this process.
  if (inode === undefined || !isRunning(holder)) {
    throw new WindlassError('Conflict', `the pid namespace of ${what} is gone`);
  }
  return { path, inode };
}

/** Throws Conflict when the created container is not in the namespace that was planned. */
export function checkPidNamespace({ inode }: PidNamespace, pid: number): void {
  if (inode === undefined) return;
  const actual = inodeOf(`/proc/${pid}/ns/pid`);
  if (actual !== undefined && actual !== inode) {
    throw new WindlassError('Conflict', 'the pid namespace that was to be shared ended meanwhile');
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}
