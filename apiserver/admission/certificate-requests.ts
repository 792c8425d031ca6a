// Who may ask for which certificate: a token for that of a node, a node for its own ones.
import { BOOTSTRAPPERS, NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER, NODE_USER } from '../../crds/join.ts';
import { parseCertificateRequest } from '../../lib/certificate-request.ts';
import { WindlassError } from '../../lib/errors.ts';
import { MASTERS, NODES } from '../auth/authorize.ts';
import { nodeNameOf } from '../auth/node-rule.ts';
import type { RequestContext, StoredObject } from '../resources/resource.ts';

/** Rejects with Forbidden what a token or a node may not ask for. A body that is no request fails validation later. */
export function checkCertificateRequest(object: StoredObject, { user }: RequestContext): void {
  const isNode = user.groups.includes(NODES);
  if (user.groups.includes(MASTERS) || (!isNode && !user.groups.includes(BOOTSTRAPPERS))) return;
  const { signerName, request } = object['spec'] as { signerName?: string; request?: string };
  const refuse = (why: string): never => {
    const { name } = object.metadata;
    throw new WindlassError(
      'Forbidden',
      `certificatesigningrequests.certificates.k8s.io "${name}" is forbidden: ${why}`,
      {
        details: { name, group: 'certificates.k8s.io', kind: 'certificatesigningrequests' },
      },
    );
  };
  if (signerName !== NODE_CLIENT_SIGNER && !(isNode && signerName === NODE_SERVING_SIGNER)) {
    refuse(`${user.name} may not ask ${String(signerName)} for a certificate`);
  }
  if (!isNode) return;
  const own = `${NODE_USER}${nodeNameOf(user) ?? ''}`;
  const asked = subjectOf(request);
  if (asked !== undefined && asked !== own) refuse(`${own} may not ask for a certificate of ${JSON.stringify(asked)}`);
}

function subjectOf(request: string | undefined): string | undefined {
  try {
    return parseCertificateRequest(Buffer.from(request ?? '', 'base64').toString('utf8')).commonName;
  } catch {
    return undefined;
  }
}
