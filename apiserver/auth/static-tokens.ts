// Bearer tokens from a file, as upstream has them: one line of CSV per token: token,user,uid,"group1,group2".
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { AUTHENTICATED, type User } from './user.ts';

/** A token that can be guessed is none. */
const MIN_LENGTH = 16;

export interface StaticTokens {
  /** The user of a token; undefined for one that the file does not have. */
  identify(token: string): User | undefined;
}

/** No tokens at all. */
export const noStaticTokens: StaticTokens = { identify: () => undefined };

/**
 * The tokens of `file`; it is read again when it has changed. Throws BadRequest naming the line that is wrong; of a file that
 * goes wrong later the last good content stays, and the log says so.
 */
export function readStaticTokens(file: string, log: Logger): StaticTokens {
  let stamp = stampOf(file);
  let users = parseStaticTokens(readFileSync(file, 'utf8'), file);
  return {
    identify(token) {
      const now = stampOf(file);
      if (now !== stamp) {
        stamp = now;
        try {
          users = parseStaticTokens(readFileSync(file, 'utf8'), file);
        } catch (error) {
          log.error({ problem: messageOf(error) }, 'kept the tokens that were read before');
        }
      }
      return users.get(hash(token));
    },
  };
}

/** The users of a file's text by the hash of their token: how long a look takes says nothing about the token then. */
export function parseStaticTokens(text: string, file: string): Map<string, User> {
  const users = new Map<string, User>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const fail = (problem: string): never => {
      throw new WindlassError('BadRequest', `invalid token file ${file}: line ${index + 1}: ${problem}`);
    };
    const matches = [...line.matchAll(/(?:^|,)(?:"([^"]*)"|([^",]*))(?=,|$)/g)];
    const fields = matches.map(([, quoted, plain]) => quoted ?? plain ?? '');
    // A piece that does not parse is passed over, and each field behind it would be taken for the one before.
    const isWhole = matches.map(([part]) => part).join('') === line;
    const [token = '', name = '', , groups = ''] = fields;
    if (!isWhole || fields.length < 3 || fields.length > 4) fail('want token,user,uid,"group1,group2"');
    if (token.length < MIN_LENGTH) fail(`the token must have at least ${MIN_LENGTH} characters`);
    if (/\s/.test(token)) fail('the token must not hold blanks');
    if (name === '') fail('the user must not be empty');
    if (users.has(hash(token))) fail('the token is there twice');
    const own = groups.split(',').flatMap((group) => (group.trim() === '' ? [] : [group.trim()]));
    users.set(hash(token), { name, groups: [...own, AUTHENTICATED] });
  }
  return users;
}

const hash = (token: string): string => createHash('sha256').update(token).digest('hex');

function stampOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  return found ? `${found.ino} ${found.mtimeMs} ${found.size}` : '';
}
