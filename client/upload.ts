// Sends bytes to the API server as they come: the one request whose body is no object.
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { messageOf, WindlassError } from '../lib/errors.ts';
import type { Connection } from './kubeconfig.ts';
import { statusError } from './status-error.ts';

const MAX_ANSWER_BYTES = 1024 * 1024;

/** POSTs `body` to `path` and gives the object that is answered. Throws what the server says, and what `body` fails with. */
export async function upload(
  connection: Connection,
  path: string,
  body: Readable,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const { server, ca, cert, key, token, serverName, skipTlsVerify } = connection;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    let cause: unknown;
    const request = httpsRequest(`${server}${path}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/x-tar',
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...{ ca, cert, key, signal, rejectUnauthorized: skipTlsVerify !== true },
      ...(serverName === undefined ? {} : { servername: serverName }),
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
  const text = await readAll(response);
  if (response.statusCode !== 201) throw statusError(response.statusCode ?? 502, parseStatus(text), `POST ${path}`);
  return JSON.parse(text) as Record<string, unknown>;
}

function parseStatus(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A proxy in between: its code says enough.
    return undefined;
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_ANSWER_BYTES) throw new WindlassError('Unavailable', 'the answer of the server is too long');
  }
  return text;
}
