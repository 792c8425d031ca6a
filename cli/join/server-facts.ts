// What a machine learns of a server before it trusts it with anything: its authority, held against the hash that the user was
// told, its clock and its version.
import { request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { errnoOf, messageOf, WindlassError } from '../../lib/errors.ts';
import { keyHashOf } from '../../lib/certificate-request.ts';

export interface ServerFacts {
  /** PEM of the authority. */
  readonly authority: string;
  /** Of the server's clock, in milliseconds since the epoch; undefined when it did not say. */
  readonly clockMs: number | undefined;
  /** Of this machine, as seen from the network that leads to the server. */
  readonly ownAddress: string;
  /** The windlass version of the server. */
  readonly version: string;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;

interface Reply {
  readonly status: number;
  readonly date: string | undefined;
  readonly ownAddress: string;
  readonly text: string;
}

/** Asks the server at `url`, which `flag` named. Throws BadRequest, Unavailable or Forbidden, each naming the flag to look at. */
export async function askServer(
  url: string,
  caHash: string,
  signal: AbortSignal,
  flag: '--server' | '--join' = '--server',
): Promise<ServerFacts> {
  const named = `${flag} ${url}`;
  // Not verified yet: nothing is told to this server, and nothing believed of it but what has the right hash.
  const reply = await get(`${url}/ca.crt`, { named }, signal);
  if (reply.status !== 200 || !reply.text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new WindlassError('BadRequest', `${named} is no windlass API server: it answers ${reply.status} to /ca.crt`);
  }
  const authority = reply.text;
  const found = hashOf(authority, named);
  if (found !== caHash) {
    throw new WindlassError(
      'Forbidden',
      `the authority of ${url} is ${found}, not ${caHash} as --ca-hash says: it is another cluster, or somebody in between; nothing was told to it`,
    );
  }
  const version = await get(`${url}/version`, { named, ca: authority }, signal);
  const gitVersion = gitVersionOf(version, named);
  return {
    authority,
    clockMs: version.date === undefined ? undefined : Date.parse(version.date),
    ownAddress: version.ownAddress,
    version: /\+windlass-(.+)$/.exec(gitVersion)?.[1] ?? '',
  };
}

function gitVersionOf({ status, text }: Reply, named: string): string {
  try {
    const { gitVersion } = JSON.parse(text) as { gitVersion?: unknown };
    if (status === 200 && typeof gitVersion === 'string') return gitVersion;
  } catch {
    // What is no JSON says no version either.
  }
  throw new WindlassError('Unavailable', `${named} answers ${status} to /version, and no version`);
}

function hashOf(authority: string, named: string): string {
  try {
    return keyHashOf(authority);
  } catch (error) {
    throw new WindlassError('BadRequest', `${named} is no windlass API server: /ca.crt is no certificate`, {
      cause: error,
    });
  }
}

function get(url: string, { named, ...tls }: { named: string; ca?: string }, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const fail = (error: Error): void => reject(signal.aborted ? error : unreachable(named, error));
    const sent = request(
      url,
      { ...tls, rejectUnauthorized: tls.ca !== undefined, signal: limited, agent: false },
      (response) => {
        const socket = response.socket as TLSSocket;
        const ownAddress = socket.localAddress ?? '127.0.0.1';
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > MAX_BYTES) response.destroy(new Error('the answer is too long'));
        });
        response.on('error', fail);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            date: response.headers.date,
            ownAddress,
            text: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    sent.on('error', fail);
    sent.end();
  });
}

const HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED:
    'nothing listens there: is the server up, and does it listen for other machines (--listen 0.0.0.0:6443)?',
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name cannot be looked up',
  EHOSTUNREACH: 'there is no way to that address',
  ENETUNREACH: 'there is no way to that address',
  EPROTO: 'it does not speak TLS',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is not valid for that address: use one that it has, or start the server with --advertise',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: are the clocks of both machines right?',
  CERT_HAS_EXPIRED: 'its certificate has run out: are the clocks of both machines right?',
};

function unreachable(named: string, error: Error): WindlassError {
  const isLate = error.name === 'TimeoutError' || error.name === 'AbortError';
  const detail = isLate
    ? `no answer within ${TIMEOUT_MS / 1000} s: is a firewall in between?`
    : (HINTS[errnoOf(error) ?? ''] ?? messageOf(error));
  return new WindlassError('Unavailable', `${named} cannot be reached: ${detail}`, { cause: error });
}
