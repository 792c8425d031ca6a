// Binding the gRPC server to its unix socket.
import { chmodSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { GrpcServer } from '../lib/grpc/server.ts';
import { WindlassError } from '../lib/errors.ts';

/** How long calls under way may go on when the process is told to stop. */
const DRAIN_MS = 5_000;

/** Listens for root only. A socket file that nobody answers on is replaced; Conflict when somebody does. */
export async function listenOnSocket(server: GrpcServer, path: string): Promise<AsyncDisposable> {
  if (await isAnswered(path)) throw new WindlassError('Conflict', `another process listens on ${path}`);
  rmSync(path, { force: true });
  const umask = process.umask(0o177);
  try {
    await server.listen(path);
  } finally {
    process.umask(umask);
  }
  chmodSync(path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      await server.close(DRAIN_MS);
      rmSync(path, { force: true });
    },
  };
}

async function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
