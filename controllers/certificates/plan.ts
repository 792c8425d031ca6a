// What becomes of one CertificateSigningRequest. Pure; each plan is one step, and what it leaves is looked at again.
import type { CertificateSigningRequest, Node } from '../../crds/builtin.ts';
import {
  BOOTSTRAP_USER,
  BOOTSTRAPPERS,
  isNodeName,
  JOIN_REQUEST_ANNOTATION,
  NODE_CLIENT_SIGNER,
  NODE_GROUP,
  NODE_KEY_ANNOTATION,
  NODE_ROLE_GROUP,
  NODE_SERVING_SIGNER,
  NODE_USER,
} from '../../crds/join.ts';
import type { ParsedRequest } from '../../lib/certificate-request.ts';
import type { Token, TokenUse } from '../../crds/join-token.ts';

export interface Observed {
  readonly csr: CertificateSigningRequest;
  /** Undefined when it is not signed with the key it names. */
  readonly request: ParsedRequest | undefined;
  /** The Node the request names. */
  readonly node: Node | undefined;
  /** The token of who asks, when it was asked by one that is still there. */
  readonly token: Token | undefined;
  /** The longest life of a certificate. */
  readonly maxSeconds: number;
  readonly now: number;
}

export type CertificatePlan =
  /** Nothing to do before somebody else, or the time, does something. */
  | { readonly kind: 'wait'; readonly requeueAfterMs: number }
  | { readonly kind: 'remove' }
  | { readonly kind: 'deny' | 'fail'; readonly reason: string; readonly message: string }
  /** Make the Node, so that the name belongs to the key. */
  | { readonly kind: 'claim'; readonly nodeName: string; readonly annotations: Readonly<Record<string, string>> }
  | { readonly kind: 'spend'; readonly use: TokenUse }
  | { readonly kind: 'approve'; readonly message: string }
  | { readonly kind: 'sign'; readonly nodeName: string; readonly nodeUid: string; readonly seconds: number };

const HOUR_MS = 60 * 60_000;
const KEEP_ANSWERED_MS = HOUR_MS;
const KEEP_PENDING_MS = 24 * HOUR_MS;
const SIGNERS: ReadonlySet<string> = new Set([NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER]);
const USAGES: Readonly<Record<string, { needs: string; may: ReadonlySet<string> }>> = {
  [NODE_CLIENT_SIGNER]: {
    needs: 'client auth',
    may: new Set(['digital signature', 'key encipherment', 'client auth']),
  },
  [NODE_SERVING_SIGNER]: {
    needs: 'server auth',
    may: new Set(['digital signature', 'key encipherment', 'server auth']),
  },
};

/** The next step. */
export function planCertificate(observed: Observed): CertificatePlan {
  const { csr, now } = observed;
  const has = (type: string): boolean => csr.status?.conditions?.some((one) => one.type === type) === true;
  const isAnswered = has('Denied') || has('Failed') || Boolean(csr.status?.certificate);
  const removeAt = Date.parse(csr.metadata.creationTimestamp ?? '') + (isAnswered ? KEEP_ANSWERED_MS : KEEP_PENDING_MS);
  if (now >= removeAt) return { kind: 'remove' };
  const wait = { kind: 'wait', requeueAfterMs: removeAt - now } as const;
  if (isAnswered || !SIGNERS.has(csr.spec.signerName)) return wait;
  const flaw = flawOf(observed);
  if (has('Approved')) return flaw === undefined ? planSigning(observed) : fail('SignerValidationFailure', flaw);
  const isNode = isOfNode(csr);
  if (!isNode && !csr.spec.groups?.includes(BOOTSTRAPPERS)) return wait;
  if (flaw !== undefined) return deny('InvalidRequest', flaw);
  return isNode ? planRenewal(observed) : planJoin(observed);
}

/** Whether a node asks, by a certificate that it has. */
const isOfNode = ({ spec: { username = '', groups = [] } }: CertificateSigningRequest): boolean =>
  groups.includes(NODE_GROUP) && username.startsWith(NODE_USER);

const goneMessage = (name: string): string => `there is no node "${name}" any more: join again with a token`;

const deny = (reason: string, message: string): CertificatePlan => ({ kind: 'deny', reason, message });
const fail = (reason: string, message: string): CertificatePlan => ({ kind: 'fail', reason, message });

/** What is wrong with the request itself, whoever approves it. */
function flawOf({ csr, request }: Observed): string | undefined {
  if (!request) return 'the request is not signed with the key that it names';
  const { signerName, usages } = csr.spec;
  const name = nodeNameOf(request);
  if (name === undefined || !isNodeName(name)) {
    return `the common name must be ${NODE_USER}<name of the node>, not ${JSON.stringify(request.commonName)}`;
  }
  if (request.organizations.join() !== NODE_GROUP) return `the organization must be ${NODE_GROUP} and nothing else`;
  const names = signerName === NODE_SERVING_SIGNER ? [name] : [];
  if (request.otherNames.length > 0 || request.dnsNames.join() !== names.join()) {
    return names.length > 0
      ? `the name of the node, as a DNS name, must be its only alternative name`
      : 'a client certificate has no alternative names';
  }
  const { needs, may } = USAGES[signerName] as (typeof USAGES)[string];
  if (!usages.includes(needs) || usages.some((usage) => !may.has(usage))) {
    return `the usages must be ${[...may].join(', ')}, of which ${needs} is needed`;
  }
  return undefined;
}

const nodeNameOf = ({ commonName }: ParsedRequest): string | undefined =>
  commonName.startsWith(NODE_USER) ? commonName.slice(NODE_USER.length) : undefined;

const keyOf = (node: Node): string | undefined => node.metadata.annotations?.[NODE_KEY_ANNOTATION];

const isHeldByOther = (node: Node | undefined, request: ParsedRequest): boolean =>
  node !== undefined && keyOf(node) !== request.keyHash;

function heldMessage(name: string): string {
  return `the name "${name}" belongs to a node with another key; choose another name with --node-name, or remove that node first: kubectl delete node ${name}`;
}

/** Asked by a token: the name is claimed before a use is spent, so that who loses a race for it has not paid. */
function planJoin({ csr, request, node, token, now }: Observed): CertificatePlan {
  const asked = request as ParsedRequest;
  const name = nodeNameOf(asked) as string;
  const id = (csr.spec.username ?? '').slice(BOOTSTRAP_USER.length);
  if (csr.spec.signerName !== NODE_CLIENT_SIGNER)
    return deny('Forbidden', 'a join token is for client certificates only');
  if (!csr.spec.groups?.includes(NODE_ROLE_GROUP)) {
    return deny('WrongRole', `the token ${id} is not for nodes: its auth-extra-groups lack ${NODE_ROLE_GROUP}`);
  }
  if (!token) return deny('TokenRevoked', `the token ${id} was revoked`);
  if (token.expiresAt !== undefined && token.expiresAt <= now)
    return deny('TokenExpired', `the token ${id} has expired`);
  if (isHeldByOther(node, asked)) return deny('Forbidden', heldMessage(name));
  const use = { node: name, request: csr.metadata.uid ?? '' };
  // A node that has the name asks again for the same key: its answer was lost on the way.
  const isNew = node === undefined || node.metadata.annotations?.[JOIN_REQUEST_ANNOTATION] === use.request;
  const isPaid = !isNew || token.uses === undefined || token.usedBy.some(({ request: uid }) => uid === use.request);
  if (!isPaid && token.usedBy.length >= (token.uses ?? 0)) {
    const by = token.usedBy.map(({ node: one }) => one).join(', ');
    return deny('TokenUsedUp', `the token ${id} is used up: it was for ${token.uses}, and was used by ${by}`);
  }
  if (!node) {
    const annotations = { [NODE_KEY_ANNOTATION]: asked.keyHash, [JOIN_REQUEST_ANNOTATION]: use.request };
    return { kind: 'claim', nodeName: name, annotations };
  }
  if (!isPaid) return { kind: 'spend', use };
  return { kind: 'approve', message: `approved for the token ${id}` };
}

/** Asked by a node, which the API server knows by a certificate that it still accepts. */
function planRenewal({ csr, request, node }: Observed): CertificatePlan {
  const asked = request as ParsedRequest;
  const name = nodeNameOf(asked) as string;
  if (csr.spec.username !== asked.commonName) {
    return deny('Forbidden', `${csr.spec.username} may not ask for a certificate of ${asked.commonName}`);
  }
  if (!node) return deny('Forbidden', goneMessage(name));
  if (isHeldByOther(node, asked)) {
    return deny('Forbidden', `the key is not the one that node "${name}" joined with: a node keeps its key`);
  }
  return { kind: 'approve', message: `approved for the node itself` };
}

/** Approved by somebody: the name must belong to the key all the same. */
function planSigning({ csr, request, node, maxSeconds }: Observed): CertificatePlan {
  const asked = request as ParsedRequest;
  const nodeName = nodeNameOf(asked) as string;
  if (isHeldByOther(node, asked)) return fail('Forbidden', heldMessage(nodeName));
  if (!node) {
    // Deleted between the approval and now: its own certificate must not bring it back.
    if (isOfNode(csr)) return fail('Forbidden', goneMessage(nodeName));
    const annotations = { [NODE_KEY_ANNOTATION]: asked.keyHash, [JOIN_REQUEST_ANNOTATION]: csr.metadata.uid ?? '' };
    return { kind: 'claim', nodeName, annotations };
  }
  const seconds = Math.min(csr.spec.expirationSeconds ?? maxSeconds, maxSeconds);
  return { kind: 'sign', nodeName, nodeUid: node.metadata.uid ?? '', seconds };
}
