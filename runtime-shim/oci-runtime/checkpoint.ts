// Checkpoints by the OCI runtime, which has criu do the work.
import { WindlassError } from '../../lib/errors.ts';
import type { Spawner } from '../host/spawn.ts';
import { lastComplaint } from './conmon.ts';
import { runProgram } from './run-program.ts';
import { findProgram, type OciRuntime } from './runtime.ts';

/** Longer than any dump takes that still goes on; one that hangs is killed then. */
const DUMP_MS = 15 * 60_000;
const CHECK_MS = 20_000;

export interface CheckpointDump {
  /** Folder for the images of memory and kernel objects. */
  readonly imagePath: string;
  /** Folder for criu's log and statistics. */
  readonly workPath: string;
}

/**
 * Unimplemented, with what can be done, when this host cannot make checkpoints: no criu, a criu that does not know this
 * kernel, or an OCI runtime built without it.
 */
export async function requireCheckpointSupport(
  spawner: Spawner,
  runtime: OciRuntime,
  signal: AbortSignal,
  find: typeof findProgram = findProgram,
): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)]);
  const refuse = (why: string): never => {
    throw new WindlassError('Unimplemented', `CheckpointContainer is not supported on this host: ${why}`);
  };
  const criu = find('criu');
  if (criu === undefined) refuse('criu is not installed (Debian: apt-get install criu)');
  if (runtime.kind === 'crun') {
    const { stdout } = await runProgram(spawner, {
      file: runtime.program,
      argv: [runtime.program, '--version'],
      signal: limit,
    });
    if (!stdout.includes('+CRIU')) refuse(`${runtime.program} is built without criu: use --oci-runtime runc`);
  }
  const { code, stdout, stderr } = await runProgram(spawner, {
    file: criu ?? '',
    argv: [criu ?? '', 'check'],
    signal: limit,
  });
  if (code !== 0) refuse(`${criu} does not work with this kernel, a newer one may: ${firstError(stdout + stderr)}`);
}

/** The first error is the cause, those after it are its consequences. */
function firstError(output: string): string {
  const line = output.split('\n').find((text) => text.startsWith('Error')) ?? lastComplaint(output);
  return line.replace(/^Error \([^)]*\):\s*/, '').trim();
}

/**
 * Dumps the container and leaves it as it was. There is no abort: killed in the middle, criu would leave its own code in
 * the container's processes.
 */
export async function dumpContainer(
  spawner: Spawner,
  runtime: OciRuntime,
  containerId: string,
  { imagePath, workPath }: CheckpointDump,
): Promise<void> {
  const { code, stderr } = await runProgram(spawner, {
    file: runtime.path,
    argv: [
      ...[runtime.path, ...runtime.globalArgs, 'checkpoint', '--leave-running'],
      ...['--image-path', imagePath, '--work-path', workPath],
      ...['--tcp-established', '--ext-unix-sk', '--file-locks', containerId],
    ],
    signal: AbortSignal.timeout(DUMP_MS),
  });
  if (code !== 0) {
    throw new WindlassError('Internal', `failed to checkpoint container ${containerId}: ${lastComplaint(stderr)}`);
  }
}
