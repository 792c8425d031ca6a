// Port forwarding over WebSocket channels (`v4.channel.k8s.io`), as the kubelet offers it: the ports are named in advance
// and get one connection each, with channel 2n for the bytes of the n-th and 2n+1 for an error message.
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { messageOf } from '../../lib/errors.ts';
import { frame } from './channels.ts';
import { joinDuplexes } from './join-duplexes.ts';
import type { ConnectToPort } from './port-forward-spdy.ts';

const PING_MS = 30_000;

/** Connects to each port at once; resolves when all of the connections, or the client, are gone. */
export async function servePortForwardWebSocket(
  socket: WebSocket,
  ports: readonly number[],
  connect: ConnectToPort,
): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const channels = ports.map((_port, index) => dataChannel(socket, index * 2));
  socket.on('error', () => socket.terminate());
  socket.on('message', (message: Buffer) => {
    const channel = channels[(message[0] ?? 1) / 2];
    if (channel && !channel.destroyed && message.length > 1 && !channel.push(message.subarray(1))) socket.pause();
  });
  void closed.then(() => {
    for (const channel of channels) channel.destroy();
  });
  const ping = setInterval(() => socket.ping(), PING_MS);
  try {
    await Promise.all(channels.map((channel, index) => forward(socket, channel, index, ports[index] ?? 0, connect)));
    socket.close(1000);
    await closed;
  } finally {
    clearInterval(ping);
  }
}

async function forward(
  socket: WebSocket,
  channel: Duplex,
  index: number,
  port: number,
  connect: ConnectToPort,
): Promise<void> {
  // Both channels begin with the port they are for.
  for (const number of [index * 2, index * 2 + 1]) socket.send(frame(number, Buffer.of(port & 0xff, port >> 8)));
  let target: Duplex;
  try {
    target = await connect(port);
  } catch (failure) {
    if (socket.readyState === socket.OPEN) socket.send(frame(index * 2 + 1, Buffer.from(messageOf(failure))));
    channel.destroy();
    return;
  }
  // A channel has no end of its own: when the port sends no more, that is the end of the connection.
  target.once('end', () => channel.push(null));
  await joinDuplexes(channel, target);
}

function dataChannel(socket: WebSocket, channel: number): Duplex {
  const duplex = new Duplex({
    read: () => socket.resume(),
    write: (data: Buffer, _encoding, done) => socket.send(frame(channel, data), done),
    destroy(error, done) {
      // The others must not wait for a reader that is gone.
      socket.resume();
      done(error);
    },
  });
  duplex.on('error', () => undefined);
  return duplex;
}
