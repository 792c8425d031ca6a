// A client of exec or attach over WebSocket: one message per piece, its first byte the channel.
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { CHANNEL, frame, parseClientMessage } from './channels.ts';
import {
  createResizeListeners,
  endWritable,
  errorStreamText,
  withoutStall,
  type ClientStreams,
  type StreamSet,
} from './client-streams.ts';

const PING_MS = 30_000;
const MAX_PIECE_BYTES = 32 * 1024;

/**
 * client-go reads messages from the moment the connection is open, and throws away those of channels that it has not yet
 * made ("Unknown stream id"): the output of a program that is done in a few milliseconds would be lost, its end as well.
 */
const FIRST_MESSAGE_MS = 40;

/** Wraps an open WebSocket of `v5.channel.k8s.io` or `v4.channel.k8s.io`. */
export function createWebSocketClient(socket: WebSocket, protocol: string, streams: StreamSet): ClientStreams {
  const sizes = createResizeListeners();
  const isHeard = sleep(FIRST_MESSAGE_MS);
  const stdin = streams.stdin ? new Readable({ read: () => socket.resume() }) : undefined;
  const stdout = streams.stdout ? channelWriter(socket, CHANNEL.stdout, isHeard) : undefined;
  const stderr = streams.stderr ? channelWriter(socket, CHANNEL.stderr, isHeard) : undefined;
  const ping = setInterval(() => socket.ping(), PING_MS);
  socket.on('error', () => socket.terminate());
  socket.on('message', (data: Buffer) => {
    const message = parseClientMessage(data, protocol);
    if (message?.kind === 'resize') sizes.tell(message.size);
    if (!stdin || stdin.destroyed || stdin.readableEnded) return;
    if (message?.kind === 'closeStdin') stdin.push(null);
    if (message?.kind === 'stdin' && message.data.length > 0 && !stdin.push(message.data)) socket.pause();
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      clearInterval(ping);
      for (const stream of [stdin, stdout, stderr]) stream?.destroy();
      resolve();
    });
  });
  return {
    ...{ stdin, stdout, stderr, closed },
    onResize: (listener) => sizes.listen(listener),
    async finish(end) {
      const finishing = (async () => {
        await Promise.all([endWritable(stdout), endWritable(stderr), isHeard]);
        // Nobody reads what else the client sends, but its closing must be seen.
        stdin?.destroy();
        socket.resume();
        const text = errorStreamText(protocol, end);
        if (text !== '' && socket.readyState === socket.OPEN) socket.send(frame(CHANNEL.error, Buffer.from(text)));
        socket.close(1000);
        await closed;
      })();
      await withoutStall(
        finishing,
        () => socket.bufferedAmount + (stdout?.writableLength ?? 0) + (stderr?.writableLength ?? 0),
        () => socket.terminate(),
      );
    },
    destroy: () => socket.terminate(),
  };
}

function channelWriter(socket: WebSocket, channel: number, isHeard: Promise<void>): Writable {
  const writer = new Writable({
    write(data: Buffer, _encoding, done) {
      // Called back when the bytes have left: what waits here is all that is kept.
      const send = (offset: number): void => {
        const end = offset + MAX_PIECE_BYTES;
        socket.send(frame(channel, data.subarray(offset, end)), (error) => {
          if (error || end >= data.length) done(error);
          else send(end);
        });
      };
      void isHeard.then(() => send(0));
    },
  });
  // The client has left, which `closed` tells.
  writer.on('error', () => undefined);
  return writer;
}
