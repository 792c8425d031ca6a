// One-shot tokens: each stands for one target, for a minute, for whoever brings it first.
import { randomBytes } from 'node:crypto';
import type { StreamTarget } from './targets.ts';

const TOKEN_MS = 60_000;
/** Far above what callers hold at once; bounds what a caller that never connects can take. */
const MAX_TOKENS = 1_000;

export interface Tokens {
  /** A new token. The oldest is forgotten when there are too many. */
  issue(target: StreamTarget): string;
  /** What a token stands for, once; undefined for one of another kind, that is used, too old or was never given out. */
  take(kind: StreamTarget['kind'], token: string): StreamTarget | undefined;
}

/** `now` in milliseconds, from a clock that never goes back. */
export function createTokens(now: () => number = () => performance.now()): Tokens {
  const tokens = new Map<string, { readonly target: StreamTarget; readonly expiresAt: number }>();
  return {
    issue(target) {
      for (const [token, { expiresAt }] of tokens) if (expiresAt <= now()) tokens.delete(token);
      // The oldest goes first: a Map keeps the order of insertion.
      for (const token of tokens.keys()) {
        if (tokens.size < MAX_TOKENS) break;
        tokens.delete(token);
      }
      const token = randomBytes(32).toString('hex');
      tokens.set(token, { target, expiresAt: now() + TOKEN_MS });
      return token;
    },
    take(kind, token) {
      const found = tokens.get(token);
      tokens.delete(token);
      return found && found.target.kind === kind && found.expiresAt > now() ? found.target : undefined;
    },
  };
}
