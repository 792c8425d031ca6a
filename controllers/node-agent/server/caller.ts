// Who is at the other end of a connection to the agent: the API server, or the agent of another node. Each has a client
// certificate of the cluster; nobody else's is taken.
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { NODE_GROUP, NODE_USER } from '../../../crds/join.ts';
import { WindlassError } from '../../../lib/errors.ts';

/** Common name of the certificate the API server shows to agents. */
const API_SERVER_NAME = 'windlass:apiserver';

export type Caller =
  | { readonly kind: 'apiserver' }
  /** `uid` is that of its Node; a certificate that the authority made itself, on the machine of a server, has none. */
  | { readonly kind: 'node'; readonly name: string; readonly uid: string | undefined };

/** The caller by its certificate, which TLS has verified. Throws Forbidden for anybody else. */
export function readCaller(request: IncomingMessage): Caller {
  const subject = (request.socket as TLSSocket).getPeerCertificate().subject as
    | Readonly<Record<string, string | string[] | undefined>>
    | undefined;
  const name = subject?.['CN'];
  if (name === API_SERVER_NAME) return { kind: 'apiserver' };
  const uid = subject?.['UID'];
  if (typeof name === 'string' && name.startsWith(NODE_USER) && [subject?.['O']].flat().includes(NODE_GROUP)) {
    return {
      kind: 'node',
      name: name.slice(NODE_USER.length),
      uid: typeof uid === 'string' ? uid : undefined,
    };
  }
  throw new WindlassError('Forbidden', `${String(name)} may not talk to the node agent: ask the API server`);
}
