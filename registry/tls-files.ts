import { readFileSync } from 'node:fs';
import { WindlassError } from '../lib/errors.ts';
import type { Config } from './config.ts';

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Authority of client certificates. */
  readonly clientCa?: Buffer | undefined;
}

/** The PEM files that the flags name; undefined = plain HTTP. Throws BadRequest naming the flag of one it cannot read. */
export function readTls({ tlsCert, tlsKey, clientCa }: Readonly<Config>): TlsFiles | undefined {
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  return {
    cert: read('--tls-cert', tlsCert),
    key: read('--tls-key', tlsKey),
    clientCa: clientCa === undefined ? undefined : read('--client-ca', clientCa),
  };
}

/** The content of the file that `flag` names. */
export function read(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new WindlassError('BadRequest', `${flag}: cannot read ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
