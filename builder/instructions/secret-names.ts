// Variables whose names say that they hold a secret: both ENV and ARG end up in the image.
import type { Scope } from './scope.ts';

const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const HARMLESS = /(?:_|^)(?:public|file|version)(?:_|$)/i;

export function warnOfSecret(kind: 'ARG' | 'ENV', name: string, scope: Scope): void {
  if (!SECRET.test(name) || HARMLESS.test(name)) return;
  scope.warn('SecretsUsedInArgOrEnv', `${kind} ${name} can be read from the image: use RUN --mount=type=secret`);
}
