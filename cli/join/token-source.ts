// Where the token comes from: a file or standard input keep it out of the list of processes.
import { readFileSync } from 'node:fs';
import { messageOf, WindlassError } from '../../lib/errors.ts';

/** The token that the flags name; undefined when they name none. Throws BadRequest naming the flag. */
export function readToken({
  token,
  tokenFile,
}: {
  token?: string | undefined;
  tokenFile?: string | undefined;
}): string | undefined {
  if (token !== undefined && tokenFile !== undefined) {
    throw new WindlassError('BadRequest', 'want one of --token and --token-file, not both');
  }
  const file = token === '-' ? 0 : tokenFile;
  const flag = token === undefined ? '--token-file' : '--token';
  const text = file === undefined ? token : readText(file, flag);
  if (text === undefined) return undefined;
  const plain = text.trim();
  if (/^[a-z0-9]{6}\.[a-z0-9]{16}$/.test(plain)) return plain;
  // Not quoted: a mistyped token is nearly one.
  throw new WindlassError('BadRequest', `invalid ${flag}: want a join token such as abcdef.0123456789abcdef`);
}

function readText(file: string | number, flag: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new WindlassError('BadRequest', `cannot read the token of ${flag}: ${messageOf(error)}`, { cause: error });
  }
}
