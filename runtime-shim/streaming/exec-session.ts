// One exec over one WebSocket, from the program's start to its exit code.
import type { Readable } from 'node:stream';
import type { WebSocket } from 'ws';
import { messageOf } from '../../lib/errors.ts';
import { CHANNEL, exitStatus, failureStatus, frame, parseClientMessage } from './channels.ts';
import type { ExecProcess } from './exec-process.ts';

/** What a one-shot URL stands for. */
export interface ExecTarget {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** Bytes that may wait for a slow reader before the program is held back. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** How long a program's output may stay open and silent after its end: a process left behind never closes it. */
const LINGER_MS = 1_000;
const PING_MS = 30_000;

/** Runs `start()` and connects it; resolves when the socket is closed and nothing is left. */
export async function serveExec(socket: WebSocket, target: ExecTarget, start: () => ExecProcess): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => socket.terminate());
  let child: ExecProcess;
  try {
    child = start();
  } catch (error) {
    sendStatus(socket, failureStatus(messageOf(error)));
    socket.close(1000);
    await closed;
    return;
  }
  const ping = setInterval(() => socket.ping(), PING_MS);
  readClient(socket, target, child);
  // A client that leaves takes its program with it: nobody else could end it.
  let hasExited = false;
  socket.once('close', () => {
    if (!hasExited) child.kill();
  });
  try {
    const streams = [
      pump(socket, child.stdout, target.stdout ? CHANNEL.stdout : undefined),
      child.stderr ? pump(socket, child.stderr, target.stderr ? CHANNEL.stderr : undefined) : undefined,
    ];
    let lastOutputAt = performance.now();
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', () => {
        lastOutputAt = performance.now();
      });
    }
    let isRuntimeGone = false;
    const exited = child.exited.finally(() => {
      isRuntimeGone = true;
    });
    const linger = setInterval(() => {
      const isQuiet =
        performance.now() - lastOutputAt > LINGER_MS && !child.stdout.isPaused() && !child.stderr?.isPaused();
      if (!isQuiet || !child.hasProgramEnded()) return;
      // Where the runtime has told the code already, only the streams are left to let go of.
      if (!isRuntimeGone) child.kill();
      child.stdout.destroy();
      child.stderr?.destroy();
    }, 200);
    const [exit] = await Promise.all([exited, ...streams]).finally(() => clearInterval(linger));
    hasExited = true;
    sendStatus(socket, exitStatus(exit.code ?? 137));
    socket.close(1000);
    await closed;
  } finally {
    clearInterval(ping);
    child.dispose();
  }
}

function sendStatus(socket: WebSocket, status: object): void {
  socket.send(frame(CHANNEL.error, Buffer.from(JSON.stringify(status))));
}

function readClient(socket: WebSocket, target: ExecTarget, child: ExecProcess): void {
  child.stdin?.on('error', () => undefined);
  child.stdin?.on('drain', () => socket.resume());
  socket.on('message', (data: Buffer) => {
    const message = parseClientMessage(data, socket.protocol);
    if (message?.kind === 'resize') child.resize(message.columns, message.rows);
    if (!target.stdin || !child.stdin) return;
    if (message?.kind === 'closeStdin') child.stdin.end(target.tty ? Buffer.of(4) : undefined);
    if (message?.kind === 'stdin' && child.stdin.writable && !child.stdin.write(message.data)) socket.pause();
  });
}

/** Sends a stream on a channel until it ends; undefined = read and drop. Waits for a reader that is slow. */
async function pump(socket: WebSocket, stream: Readable, channel: number | undefined): Promise<void> {
  stream.on('data', (chunk: Buffer) => {
    if (channel === undefined || socket.readyState !== socket.OPEN) return;
    socket.send(frame(channel, chunk), () => {
      if (stream.isPaused() && socket.bufferedAmount < MAX_BUFFERED_BYTES / 2) stream.resume();
    });
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) stream.pause();
  });
  await new Promise<void>((resolve) => {
    stream.once('close', () => resolve());
    stream.once('error', () => stream.destroy());
    socket.once('close', () => stream.resume());
  });
}
