// Content digests: `sha256:<64 hex>` or `sha512:<128 hex>`, lower case, nothing else. A digest becomes a file name, so
// everything that is not exactly of this form is refused where it is parsed.
import { createHash, type Hash } from 'node:crypto';
import { WindlassError } from '../lib/errors.ts';

/** A digest that was parsed: safe to use in a path. */
export type Digest = string & { readonly __digest: true };

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** True when `text` is a digest that parseDigest() accepts. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && problemOf(text) === undefined;
}

/** Parses a digest; Invalid says what is wrong with it. */
export function parseDigest(text: string): Digest {
  const problem = problemOf(text);
  if (problem) throw new WindlassError('Invalid', `invalid digest ${quote(text)}: ${problem}`);
  return text as Digest;
}

/** The digest of `bytes`. */
export function digestOf(bytes: Buffer | string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

/** The two halves of a digest. */
export function splitDigest(digest: Digest): { algorithm: 'sha256' | 'sha512'; hex: string } {
  const [algorithm, hex = ''] = digest.split(':');
  return { algorithm: algorithm === 'sha512' ? 'sha512' : 'sha256', hex };
}

/** A running hash of the algorithm that `digest` names. */
export function hasherFor(digest: Digest): Hash {
  return createHash(splitDigest(digest).algorithm);
}

/** Finishes `hash` into a digest of the same algorithm as `like`. */
export function finishDigest(hash: Hash, like: Digest): Digest {
  return `${splitDigest(like).algorithm}:${hash.digest('hex')}` as Digest;
}

/** The error for a blob whose bytes are not what its digest says. */
export function digestMismatch(what: string, expected: string, found: string): WindlassError {
  return new WindlassError('Invalid', `${what} has digest ${found}, want ${expected}`, {
    details: { expected, found },
  });
}

function problemOf(text: string): string | undefined {
  const colon = text.indexOf(':');
  if (colon <= 0) return 'want algorithm:hex';
  const length = HEX_LENGTH[text.slice(0, Math.min(colon, 32))];
  if (length === undefined) return 'algorithm must be sha256 or sha512';
  if (text.length !== colon + 1 + length) return `want ${length} hex digits`;
  for (let index = colon + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return 'want lower-case hex digits';
  }
  return undefined;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);
}
