// Text that the server sends as it comes: logs.
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { messageOf, WindlassError } from '../lib/errors.ts';
import { refusalOf, requestOptions } from './https-request.ts';
import type { Connection } from './kubeconfig.ts';

/**
 * The lines of `path`, each with its end, as they come; what is after the last end comes last. Throws what the server says,
 * Unavailable when it cannot be reached or breaks off, and AbortError when `signal` fires.
 */
export async function* readLines(connection: Connection, path: string, signal: AbortSignal): AsyncGenerator<string> {
  const { server } = connection;
  const fail = (error: unknown): unknown =>
    signal.aborted
      ? signal.reason
      : new WindlassError('Unavailable', `failed to read from ${server}: ${messageOf(error)}`, { cause: error });
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpsRequest(`${server}${path}`, { ...requestOptions(connection), signal });
    request.once('response', resolve);
    request.once('error', (error) => reject(fail(error) as Error));
    request.end();
  });
  if (response.statusCode !== 200) throw await refusalOf(response, `GET ${path}`);
  let rest = '';
  try {
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
      const text = rest + chunk;
      const end = text.lastIndexOf('\n') + 1;
      rest = text.slice(end);
      if (end > 0) yield text.slice(0, end);
    }
  } catch (error) {
    throw fail(error);
  }
  if (rest !== '') yield rest;
}
