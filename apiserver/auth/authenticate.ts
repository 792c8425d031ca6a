// Who is calling: the client certificate's CN is the user, its O are the groups.
import type { TLSSocket } from 'node:tls';

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

export const AUTHENTICATED = 'system:authenticated';

const known = new WeakMap<object, User | null>();

/** The user behind a TLS connection; undefined when it showed no certificate of the client authority. */
export function authenticate(socket: TLSSocket): User | undefined {
  let user = known.get(socket);
  if (user === undefined) known.set(socket, (user = readCertificate(socket) ?? null));
  return user ?? undefined;
}

function readCertificate(socket: TLSSocket): User | undefined {
  // `authorized` says that the chain ends at our authority; the serving side lets others connect as anonymous.
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as Record<string, string | string[] | undefined> | undefined;
  const name = subject?.['CN'];
  if (typeof name !== 'string' || name === '') return undefined;
  const organizations = subject?.['O'] ?? [];
  const groups = Array.isArray(organizations) ? organizations : [organizations];
  return { name, groups: [...groups, AUTHENTICATED] };
}
