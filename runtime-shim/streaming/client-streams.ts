// What an exec or attach needs of a client, whichever protocol it speaks.
import type { Readable, Writable } from 'node:stream';
import { exitStatus, failureStatus, statusText } from './channels.ts';

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Which streams a session has, as asked for when its URL was made. */
export interface StreamSet {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** How a session ended. */
export type SessionEnd =
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'failure'; readonly message: string };

export interface ClientStreams {
  /** Ends when the client has no more, and closes early when it leaves. */
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Tells of every size, of the last one that came before too. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  /** Lets what was written go out, says how it ended and closes; resolves when the connection is gone. */
  finish(end: SessionEnd): Promise<void>;
  /** Cuts the client off. */
  destroy(): void;
}

/** Protocols of `channel.k8s.io` in which the error stream carries a Status object, and not a plain text. */
const WITH_STATUS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

/** What the error stream says; empty for a success in the older protocols. */
export function errorStreamText(protocol: string, end: SessionEnd): string {
  const status = end.kind === 'exit' ? exitStatus(end.code) : failureStatus(end.message);
  return WITH_STATUS.includes(protocol) ? JSON.stringify(status) : statusText(end);
}

export interface ResizeListeners {
  tell(size: TerminalSize): void;
  listen(listener: (size: TerminalSize) => void): void;
}

/** Keeps the last size for a listener that comes later. */
export function createResizeListeners(): ResizeListeners {
  let last: TerminalSize | undefined;
  let listener: ((size: TerminalSize) => void) | undefined;
  return {
    tell(size) {
      last = size;
      listener?.(size);
    },
    listen(added) {
      listener = added;
      if (last) added(last);
    },
  };
}

/** Waits until everything written is out; a stream that was destroyed is done too. */
export async function endWritable(stream: Writable | undefined): Promise<void> {
  if (!stream || stream.destroyed || stream.writableFinished) return;
  await new Promise<void>((resolve) => {
    stream.once('finish', () => resolve());
    stream.once('close', () => resolve());
    stream.end();
  });
}

/** How long a client may take nothing at all of what is left for it at the end. */
const STALL_MS = 30_000;

/** Awaits `work`; calls `cut` when `pendingBytes` stays the same for too long meanwhile. */
export async function withoutStall<T>(work: Promise<T>, pendingBytes: () => number, cut: () => void): Promise<T> {
  let [pending, since] = [pendingBytes(), performance.now()];
  const watch = setInterval(() => {
    const now = pendingBytes();
    if (now !== pending) [pending, since] = [now, performance.now()];
    else if (performance.now() - since > STALL_MS) cut();
  }, 1_000);
  return work.finally(() => clearInterval(watch));
}
