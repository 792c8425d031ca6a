// ExecSync: run, collect, within limits of time and size.
import type { Readable } from 'node:stream';
import { WindlassError } from '../../lib/errors.ts';
import type { ExecProcess } from './exec-process.ts';

export const MAX_EXEC_OUTPUT_BYTES = 16 * 1024 * 1024;
/** How long output may stay open after the program ended: a grandchild that keeps it never closes it. */
const LINGER_MS = 1_000;
const LOOK_MS = 100;

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

/**
 * Collects the output of `child` until it ends. Timeout when it takes longer than `timeoutMs` (0 = no limit) or the
 * caller leaves: the program is killed then. Output beyond 16 MiB per stream is dropped.
 */
export async function collectExec(child: ExecProcess, timeoutMs: number, signal: AbortSignal): Promise<ExecResult> {
  let failure: WindlassError | undefined;
  const stop = (why: WindlassError): void => {
    failure ??= why;
    child.kill();
    child.stdout.destroy();
    child.stderr?.destroy();
  };
  const onAbort = (): void => stop(new WindlassError('Timeout', 'the caller left before the command ended'));
  signal.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs > 0
      ? setTimeout(() => stop(new WindlassError('Timeout', `command timed out after ${timeoutMs / 1000} s`)), timeoutMs)
      : undefined;
  let isRuntimeGone = false;
  const exited = child.exited.finally(() => {
    isRuntimeGone = true;
  });
  const linger = watchLinger(child, () => {
    if (!isRuntimeGone)
      return stop(new WindlassError('Timeout', 'the command ended but a process it left behind holds its output'));
    // The code is known, and what the program itself wrote has been read.
    child.stdout.destroy();
    child.stderr?.destroy();
  });
  try {
    if (signal.aborted) onAbort();
    const [stdout, stderr, exit] = await Promise.all([collect(child.stdout), collect(child.stderr), exited]);
    if (failure) throw failure;
    return { stdout, stderr, exitCode: exit.code ?? 137 };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    clearInterval(linger);
    child.dispose();
  }
}

function watchLinger(child: ExecProcess, onLinger: () => void): NodeJS.Timeout {
  let lingeringMs = 0;
  const timer = setInterval(() => {
    lingeringMs = child.hasProgramEnded() ? lingeringMs + LOOK_MS : 0;
    if (lingeringMs <= LINGER_MS) return;
    clearInterval(timer);
    onLinger();
  }, LOOK_MS);
  return timer;
}

async function collect(stream: Readable | undefined): Promise<Buffer> {
  if (!stream) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    if (size >= MAX_EXEC_OUTPUT_BYTES) return;
    chunks.push(chunk.subarray(0, MAX_EXEC_OUTPUT_BYTES - size));
    size += chunk.length;
  });
  await new Promise<void>((resolve) => {
    stream.once('close', () => resolve());
    stream.once('error', () => stream.destroy());
  });
  return Buffer.concat(chunks);
}
