// What an agent answers, as far as it is to be held in memory: a node is not trusted to know when to stop.
import type { IncomingMessage } from 'node:http';
import { WindlassError } from '../../lib/errors.ts';

/** The whole body as text. Throws Unavailable, and ends the connection, when it is longer than `maxBytes`. */
export async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop destroys the stream.
    if (bytes > maxBytes) throw new WindlassError('Unavailable', `the node agent answered more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
