// The one question of all requests: what is fixed (authorize.ts), and what roles add to it.
import { authorize, type Attributes, type Decision } from './authorize.ts';
import type { User } from './user.ts';

export type Authorize = (user: User, attributes: Attributes) => Decision;

/** `roles` decides about what is not allowed by itself; a refusal says what both have to say. */
export function createAuthorizer(roles: { decide: Authorize }): Authorize {
  return (user, attributes) => {
    const fixed = authorize(user, attributes);
    if (fixed.allowed) return fixed;
    const added = roles.decide(user, attributes);
    if (added.allowed || fixed.reason === '') return added;
    return added.reason === '' ? fixed : { allowed: false, reason: `${fixed.reason}; ${added.reason}` };
  };
}
