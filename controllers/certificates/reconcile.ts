// Answers requests for certificates. Everything is read from the server: names and tokens are not given away by a cache
// that is behind.
import type { ApiClient } from '../../client/client.ts';
import {
  nodeKind,
  secretKind,
  signingRequestKind,
  type CertificateSigningRequest,
  type Node,
  type Secret,
} from '../../crds/builtin.ts';
import {
  BOOTSTRAP_TOKEN_TYPE,
  BOOTSTRAP_USER,
  isNodeName,
  NODE_CLIENT_SIGNER,
  NODE_GROUP,
  NODE_USER,
  tokenSecretName,
} from '../../crds/join.ts';
import {
  isRequestSigned,
  parseCertificateRequest,
  signRequest,
  type ParsedRequest,
} from '../../lib/certificate-request.ts';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { isAlreadyExists, reasonOf } from '../../lib/errors.ts';
import type { KeyPair } from '../../lib/pki.ts';
import type { Events } from '../runtime/events.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { planCertificate, type CertificatePlan } from './plan.ts';
import { addUse, readToken } from '../../crds/join-token.ts';

export interface CertificateDeps {
  readonly client: ApiClient;
  readonly authority: KeyPair;
  /** The longest life of a certificate. */
  readonly maxSeconds: number;
  readonly events: Events;
  readonly clock: Clock;
}

/** Claim, spend, approve, sign and one look to see that it is done. */
const MAX_STEPS = 6;

/** Takes one request as far as it goes without anybody else. */
export function createCertificateReconciler(deps: CertificateDeps): Reconcile {
  const { client, clock, maxSeconds } = deps;
  const requests = client.kind<CertificateSigningRequest>(signingRequestKind);
  return async (name, { signal, log }) => {
    for (let step = 0; step < MAX_STEPS; step += 1) {
      const csr = await requests.get(name, undefined, signal);
      // One whose finalizers keep it has been removed as far as this goes.
      if (!csr || isDeleting(csr)) return {};
      const request = await readRequest(csr);
      const node = await nodeOf(client, request, signal);
      const secret = await tokenOf(client, csr, signal);
      const token = secret && readToken(secret);
      const plan = planCertificate({ csr, request, node, token, maxSeconds, now: clock.now() });
      if (plan.kind === 'wait') return { requeueAfterMs: plan.requeueAfterMs };
      await takeStep(deps, { plan, csr, secret }, signal);
      const level = plan.kind === 'deny' || plan.kind === 'fail' ? 'warn' : 'info';
      log[level]({ ...plan, user: csr.spec.username }, 'took a step for a certificate');
    }
    return { requeueAfterMs: 1_000 };
  };
}

async function takeStep(
  { client, authority, events, clock }: CertificateDeps,
  { plan, csr, secret }: { plan: CertificatePlan; csr: CertificateSigningRequest; secret: Secret | undefined },
  signal: AbortSignal,
): Promise<void> {
  const requests = client.kind<CertificateSigningRequest>(signingRequestKind);
  const { name, resourceVersion } = csr.metadata;
  const setCondition = async (
    type: 'Approved' | 'Denied' | 'Failed',
    { reason, message }: { reason: string; message: string },
  ): Promise<void> => {
    const conditions = [...(csr.status?.conditions ?? []), { type, status: 'True', reason, message }];
    const patch = { metadata: { resourceVersion }, status: { conditions } };
    const subresource = type === 'Failed' ? 'status' : 'approval';
    await requests.mergePatch(name, undefined, patch, { subresource }, signal);
  };
  switch (plan.kind) {
    case 'wait':
      return;
    case 'remove':
      return requests.delete(name, undefined, {}, signal);
    case 'deny':
      return setCondition('Denied', plan);
    case 'fail':
      return setCondition('Failed', plan);
    case 'claim':
      return claim(client, plan, signal);
    case 'spend': {
      const { metadata } = secret as Secret;
      const data = addUse(readToken(secret as Secret), plan.use);
      const patch = { metadata: { resourceVersion: metadata.resourceVersion }, data };
      await client.kind<Secret>(secretKind).mergePatch(metadata.name, metadata.namespace, patch, {}, signal);
      return;
    }
    case 'approve':
      return setCondition('Approved', { reason: 'AutoApproved', message: plan.message });
    case 'sign': {
      const isClient = csr.spec.signerName === NODE_CLIENT_SIGNER;
      const certificate = await signRequest(authority, decodeRequest(csr), {
        commonName: `${NODE_USER}${plan.nodeName}`,
        organizations: [NODE_GROUP],
        // No host names, though the request has to have one: who asks chooses the name of its node, and with this authority's
        // word that it is `localhost` or `kubernetes` it could pass for the API server. Agents are known by the common name.
        ...(isClient ? { userId: plan.nodeUid } : {}),
        usage: isClient ? 'client' : 'server',
        seconds: plan.seconds,
        now: clock.now(),
      });
      const status = { certificate: Buffer.from(certificate).toString('base64') };
      await requests.mergePatch(
        name,
        undefined,
        { metadata: { resourceVersion }, status },
        { subresource: 'status' },
        signal,
      );
      if (!isClient) return;
      const until = rfc3339(clock.now() + plan.seconds * 1000);
      const node = await client.kind<Node>(nodeKind).get(plan.nodeName, undefined, signal);
      const message = `a certificate until ${until} was signed for ${csr.spec.username}`;
      if (node) events.record(node, { type: 'Normal', reason: 'CertificateIssued', message });
    }
  }
}

async function claim(
  client: ApiClient,
  { nodeName, annotations }: Extract<CertificatePlan, { kind: 'claim' }>,
  signal: AbortSignal,
): Promise<void> {
  try {
    await client.kind<Node>(nodeKind).create({ metadata: { name: nodeName, annotations } }, signal);
  } catch (error) {
    // Somebody was faster: who has the name now is seen at the next look.
    if (!isAlreadyExists(error)) throw error;
  }
}

const decodeRequest = ({ spec }: CertificateSigningRequest): string =>
  Buffer.from(spec.request, 'base64').toString('utf8');

async function readRequest(csr: CertificateSigningRequest): Promise<ParsedRequest | undefined> {
  const pem = decodeRequest(csr);
  try {
    return (await isRequestSigned(pem)) ? parseCertificateRequest(pem) : undefined;
  } catch (error) {
    if (reasonOf(error) === 'BadRequest') return undefined;
    throw error;
  }
}

async function nodeOf(
  client: ApiClient,
  request: ParsedRequest | undefined,
  signal: AbortSignal,
): Promise<Node | undefined> {
  const name = request?.commonName.startsWith(NODE_USER) ? request.commonName.slice(NODE_USER.length) : '';
  // A name that no Node can have is what the plan finds wrong.
  if (!isNodeName(name)) return undefined;
  return client.kind<Node>(nodeKind).get(name, undefined, signal);
}

async function tokenOf(
  client: ApiClient,
  { spec }: CertificateSigningRequest,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  const id = spec.username?.startsWith(BOOTSTRAP_USER) ? spec.username.slice(BOOTSTRAP_USER.length) : undefined;
  if (id === undefined) return undefined;
  const secret = await client.kind<Secret>(secretKind).get(tokenSecretName(id), 'kube-system', signal);
  return secret?.type === BOOTSTRAP_TOKEN_TYPE ? secret : undefined;
}
