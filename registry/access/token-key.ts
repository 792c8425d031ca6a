// Tokens of the registry's own token server: what was allowed, to whom and until when, sealed with a key that lives as
// long as the process. They are read by nobody else, so they need no format that others know, and no algorithm that a
// token could choose.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import type { Action } from './access.ts';

const grantsSchema = z.object({
  user: z.string(),
  isAnonymous: z.boolean(),
  /** Repository to actions. */
  repositories: z.record(z.string(), z.array(z.enum(['pull', 'push', 'delete']))),
  mayList: z.boolean(),
  /** ms since the epoch. */
  notAfter: z.number(),
});
export type Grants = z.infer<typeof grantsSchema>;

export interface TokenKey {
  seal(grants: Omit<Grants, 'notAfter'>): string;
  /** What a token allows; undefined when it is not ours, was changed, or has run out. */
  open(token: string): Grants | undefined;
}

/** How long a token is good: what is taken from a user holds after this at the latest. */
export const TOKEN_SECONDS = 300;

/** A key of its own. */
export function createTokenKey(clock: Clock): TokenKey {
  const key = randomBytes(32);
  const sign = (payload: string): Buffer => createHmac('sha256', key).update(payload).digest();
  return {
    seal(grants) {
      const content: Grants = { ...grants, notAfter: clock.now() + TOKEN_SECONDS * 1000 };
      const payload = Buffer.from(JSON.stringify(content)).toString('base64url');
      return `${payload}.${sign(payload).toString('base64url')}`;
    },
    open(token) {
      const [payload = '', signature = '', more] = token.split('.');
      const given = Buffer.from(signature, 'base64url');
      const right = sign(payload);
      if (more !== undefined || given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
      const grants = grantsSchema.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
      return grants.notAfter > clock.now() ? grants : undefined;
    },
  };
}

/** One scope of a token request, `repository:<name>:<action>[,<action>]` or `registry:catalog:*`; undefined for others. */
export function parseScope(
  text: string,
): { kind: 'repository'; name: string; actions: Action[] } | { kind: 'catalog' } | undefined {
  if (text === 'registry:catalog:*') return { kind: 'catalog' };
  const match = /^repository(?:\(plugin\))?:([^:]+):([a-z*,]+)$/.exec(text);
  if (!match) return undefined;
  const [, name = '', list = ''] = match;
  const wanted = list === '*' ? ['pull', 'push', 'delete'] : list.split(',');
  const actions = (['pull', 'push', 'delete'] as const).filter((action) => wanted.includes(action));
  return { kind: 'repository', name, actions };
}
