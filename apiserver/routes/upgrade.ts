import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Status } from './status.ts';

/** Answers an upgrade request with a Status instead, and closes the connection. */
export function refuseUpgrade(socket: Duplex, status: Status): void {
  if (socket.destroyed || !socket.writable) return;
  const body = JSON.stringify(status);
  socket.end(
    `HTTP/1.1 ${status.code} ${STATUS_CODES[status.code] ?? 'Error'}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
