// Who shows a client certificate: its CN is the user, its O are the groups, its UID is that of the Node it was made for.
import type { TLSSocket } from 'node:tls';

export interface CertificateSubject {
  readonly name: string;
  readonly groups: readonly string[];
  /** Of a node that joined: without that Node the certificate opens nothing. */
  readonly nodeUid?: string;
}

/**
 * The subject of the certificate that the other side has shown; undefined when there is none that ends at our authority,
 * none that names a user, or one that names more than one Node.
 */
export function readSubject(socket: TLSSocket): CertificateSubject | undefined {
  // The serving side lets others connect as well, as anonymous.
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as Record<string, string | string[] | undefined> | undefined;
  const { CN: name, O: organizations = [], UID: nodeUid } = subject ?? {};
  if (typeof name !== 'string' || name === '' || Array.isArray(nodeUid)) return undefined;
  const groups = Array.isArray(organizations) ? organizations : [organizations];
  return { name, groups, ...(nodeUid === undefined ? {} : { nodeUid }) };
}
