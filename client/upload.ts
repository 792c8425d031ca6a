// Sends bytes to the API server as they come: the one request whose body is no object.
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { messageOf, WindlassError } from '../lib/errors.ts';
import { readAll, refusalOf, requestOptions } from './https-request.ts';
import type { Connection } from './kubeconfig.ts';

/** POSTs `body` to `path` and gives the object that is answered. Throws what the server says, and what `body` fails with. */
export async function upload(
  connection: Connection,
  path: string,
  body: Readable,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const { server } = connection;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    let cause: unknown;
    const request = httpsRequest(`${server}${path}`, {
      ...requestOptions(connection, { 'Content-Type': 'application/x-tar' }),
      ...{ method: 'POST', signal },
    });
    request.once('response', resolve);
    request.once('error', (error) => {
      if (cause !== undefined || signal.aborted) return reject(cause ?? error);
      reject(new WindlassError('Unavailable', `failed to send to ${server}: ${messageOf(error)}`, { cause: error }));
    });
    body.once('error', (error) => {
      cause = error;
      request.destroy(error);
    });
    // A refusal may come before all is sent.
    request.once('close', () => body.destroy());
    body.pipe(request);
  });
  if (response.statusCode !== 201) throw await refusalOf(response, `POST ${path}`);
  return JSON.parse(await readAll(response)) as Record<string, unknown>;
}
