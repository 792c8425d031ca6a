// One exec for one client, from the program's start to its exit code.
import type { Readable, Writable } from 'node:stream';
import { messageOf } from '../../lib/errors.ts';
import type { ClientStreams } from './client-streams.ts';
import type { ExecProcess } from './exec-process.ts';

/** How long output may stay open and silent after the program's end: a process left behind never closes it. */
const LINGER_MS = 1_000;
/** What a terminal takes for the end of input (Ctrl+D). */
const END_OF_TRANSMISSION = Buffer.of(4);

/** Runs `start()` and connects it; resolves when the client is gone and nothing is left. */
export async function serveExec(client: ClientStreams, tty: boolean, start: () => ExecProcess): Promise<void> {
  let child: ExecProcess;
  try {
    child = start();
  } catch (error) {
    await client.finish({ kind: 'failure', message: messageOf(error) });
    return;
  }
  // A client that leaves takes its program with it: nobody else could end it.
  let hasExited = false;
  void client.closed.then(() => {
    if (!hasExited) child.kill();
  });
  client.onResize(({ columns, rows }) => child.resize(columns, rows));
  if (child.stdin && client.stdin) feed(client.stdin, child.stdin, tty);
  try {
    const code = await runToEnd(child, client);
    hasExited = true;
    await client.finish({ kind: 'exit', code });
  } finally {
    child.dispose();
  }
}

async function runToEnd(child: ExecProcess, client: ClientStreams): Promise<number> {
  let lastSignAt = performance.now();
  let isEnded = false;
  const outputs = [child.stdout, ...(child.stderr ? [child.stderr] : [])];
  for (const stream of outputs) {
    stream.on('data', () => {
      lastSignAt = performance.now();
    });
  }
  const drained = [drain(child.stdout, client.stdout), ...(child.stderr ? [drain(child.stderr, client.stderr)] : [])];
  let isRuntimeGone = false;
  const exited = child.exited.finally(() => {
    isRuntimeGone = true;
  });
  const linger = setInterval(() => {
    if (!child.hasProgramEnded()) return;
    // The last words of a program that was silent for long are still to be read when its end is first seen.
    if (!isEnded) lastSignAt = performance.now();
    isEnded = true;
    const isQuiet = performance.now() - lastSignAt > LINGER_MS && !outputs.some((stream) => stream.isPaused());
    if (!isQuiet) return;
    // Where the runtime has told the code already, only the streams are left to let go of.
    if (!isRuntimeGone) child.kill();
    for (const stream of outputs) stream.destroy();
  }, 200);
  const [exit] = await Promise.all([exited, ...drained]).finally(() => clearInterval(linger));
  return exit.code ?? 137;
}

/** A terminal is not closed, it is told that there is no more. */
function feed(from: Readable, to: Writable, tty: boolean): void {
  to.on('error', () => undefined);
  // A program that reads no more must not keep what its client still sends.
  to.once('close', () => from.resume());
  from.pipe(to, { end: !tty });
  if (tty) from.once('end', () => void (to.writable && to.write(END_OF_TRANSMISSION)));
}

/** Sends a stream to the client at the client's pace, or drops it where nobody wants it; resolves when it is closed. */
async function drain(from: Readable, to: Writable | undefined): Promise<void> {
  if (to) {
    from.pipe(to, { end: false });
    to.once('close', () => from.resume());
  } else {
    from.resume();
  }
  await new Promise<void>((resolve) => {
    from.once('close', () => resolve());
    from.once('error', () => from.destroy());
  });
}
