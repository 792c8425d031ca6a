// A join token as those who count its uses see it: never its secret.
import type { Secret } from './builtin.ts';
import { tokenTexts } from './join.ts';

/** One node or server that joined by a token of which the uses are counted. */
export interface TokenUse {
  readonly node: string;
  /** UID of the CertificateSigningRequest; of a server, the hash of what it alone knows. */
  readonly request: string;
}

export interface Token {
  readonly id: string;
  /** How many nodes may join by it; undefined = any number. */
  readonly uses: number | undefined;
  readonly usedBy: readonly TokenUse[];
  /** Milliseconds since the epoch; undefined = never. */
  readonly expiresAt: number | undefined;
}

export const USED_BY_KEY = 'used-by';

/** Reads the Secret of a token. */
export function readToken({ metadata, data }: Secret): Token {
  const texts = tokenTexts(data);
  const { expiration, uses } = texts;
  return {
    id: texts['token-id'] ?? metadata.name,
    uses: uses === undefined ? undefined : Number(uses),
    usedBy: parseUses(texts[USED_BY_KEY]),
    expiresAt: expiration === undefined ? undefined : Date.parse(expiration),
  };
}

/** Written by windlass alone, one `node request` per line; what does not read so counts as a use all the same. */
function parseUses(text = ''): TokenUse[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [node = '', request = ''] = line.split(' ');
      return { node, request };
    });
}

/** `data` of the Secret with one more use. */
export function addUse(token: Token, use: TokenUse): Record<string, string> {
  const lines = [...token.usedBy, use].map(({ node, request }) => `${node} ${request}\n`);
  return { [USED_BY_KEY]: Buffer.from(lines.join('')).toString('base64') };
}
