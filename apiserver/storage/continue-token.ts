// The opaque text that asks for the next page of a list.
import { WindlassError } from '../../lib/errors.ts';

export interface ContinueToken {
  /** The revision of the first page; -1 = whatever is present now (given out after the first expired). */
  readonly revision: number;
  /** The last key of the page before: the next page starts after it. */
  readonly after: string;
}

/** Text of a token, safe in a URL. */
export function encodeContinue(token: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: token.revision, start: token.after })).toString(
    'base64url',
  );
}

/** The inverse; rejects anything else with BadRequest. */
export function decodeContinue(text: string): ContinueToken {
  let data: unknown;
  try {
    data = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch (error) {
    throw new WindlassError('BadRequest', 'continue key is not valid: not a token of this server', { cause: error });
  }
  const { v, rv, start } = (data ?? {}) as Record<string, unknown>;
  if (v !== 'meta.k8s.io/v1' || !Number.isSafeInteger(rv) || typeof start !== 'string') {
    throw new WindlassError('BadRequest', 'continue key is not valid: not a token of this server');
  }
  return { revision: rv as number, after: start };
}
