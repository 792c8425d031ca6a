import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Copies both ways until both streams are closed. The end of one half ends that half of the other only; a stream that
 * breaks takes the other with it.
 */
export async function joinDuplexes(one: Duplex, other: Duplex): Promise<void> {
  one.pipe(other);
  other.pipe(one);
  await Promise.all([closeWith(one, other), closeWith(other, one)]);
}

async function closeWith(stream: Duplex, other: Duplex): Promise<void> {
  stream.on('error', () => stream.destroy());
  await new Promise<void>((resolve) => {
    if (stream.closed) resolve();
    else stream.once('close', () => resolve());
  });
  const isWhole = stream.readableEnded && stream.writableFinished;
  if (!isWhole) breakOff(other);
}

/**
 * A mere close would leave the kernel to deliver what is queued, for ever where the other end does not read. One that has
 * said its last word is not told that something broke: clients reset what they have read to the end.
 */
function breakOff(stream: Duplex): void {
  if (stream instanceof Socket && !stream.readableEnded) stream.resetAndDestroy();
  else stream.destroy();
}
