// What requests that stream have in common: how the server is reached, and what its refusal says.
import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { WindlassError } from '../lib/errors.ts';
import type { Connection } from './kubeconfig.ts';
import { statusError } from './status-error.ts';

const MAX_ANSWER_BYTES = 1024 * 1024;

/** Options of a request to the server of `connection`, with these headers beside its own. */
export function requestOptions(
  { ca, cert, key, token, serverName, skipTlsVerify }: Connection,
  headers: Readonly<Record<string, string>> = {},
): RequestOptions {
  return {
    headers: { ...headers, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
    ...{ ca, cert, key, rejectUnauthorized: skipTlsVerify !== true },
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

/** The error that an answer other than the one wanted stands for; `what` is the request. */
export async function refusalOf(response: IncomingMessage, what: string): Promise<Error> {
  return statusError(response.statusCode ?? 502, parseStatus(await readAll(response)), what);
}

/** A short answer as text. Throws Unavailable when it is long. */
export async function readAll(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_ANSWER_BYTES) throw new WindlassError('Unavailable', 'the answer of the server is too long');
  }
  return text;
}

function parseStatus(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A proxy in between: its code says enough.
    return undefined;
  }
}
