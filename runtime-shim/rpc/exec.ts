// ExecSync and Exec.
import type { ExecRequest, ExecSyncRequest, ExecSyncResponse, UrlResponse } from '../../cri/messages.ts';
import type { CallContext } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import { startExec } from '../streaming/exec-process.ts';
import { collectExec } from '../streaming/exec-sync.ts';
import type { Shim } from './deps.ts';
import { getRunningContainer } from './lookup.ts';

/** Runs a command to its end; a command that times out is really killed. */
export async function execSync(
  shim: Shim,
  request: ExecSyncRequest,
  { signal }: CallContext,
): Promise<ExecSyncResponse> {
  const record = getRunningContainer(shim, request.containerId);
  refusePaused(shim, record.cgroupsPath, record.id);
  shim.moves.prime();
  const child = startExec(shim.spawner, shim.runtime, {
    containerId: record.id,
    bundle: record.bundle,
    command: request.cmd,
    tty: false,
    stdin: false,
    specs: shim.specs,
    shell: shim.execShell,
    monitorPath: shim.execMonitorPath,
  });
  return collectExec(child, request.timeout * 1000, signal);
}

/** The URL at which the command will run, once. */
export async function exec(shim: Shim, request: ExecRequest): Promise<UrlResponse> {
  const record = getRunningContainer(shim, request.containerId);
  refusePaused(shim, record.cgroupsPath, record.id);
  if (request.cmd.length === 0) throw new WindlassError('Invalid', 'cmd: Required value');
  if (request.tty && request.stderr) {
    throw new WindlassError('Invalid', 'stderr: a terminal has no separate stderr');
  }
  const { cmd: command, tty, stdin, stdout, stderr } = request;
  return { url: shim.openStreamUrl({ kind: 'exec', containerId: record.id, command, tty, stdin, stdout, stderr }) };
}

/** A program joined to a frozen group would hang until it is thawed. */
function refusePaused(shim: Shim, cgroupsPath: string, id: string): void {
  if (shim.cgroups.isFrozen(cgroupsPath)) throw new WindlassError('Conflict', `container ${id} is paused`);
}
