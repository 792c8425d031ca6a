// A node's way to a certificate: a CertificateSigningRequest, and waiting for what becomes of it.
import { randomBytes } from 'node:crypto';
import { signingRequestKind, type CertificateSigningRequest } from '../crds/builtin.ts';
import { NODE_CLIENT_SIGNER, NODE_GROUP, NODE_SERVING_SIGNER, NODE_USER } from '../crds/join.ts';
import { createCertificateRequest } from '../lib/certificate-request.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { isUnavailable, reasonOf, WindlassError } from '../lib/errors.ts';
import type { ApiClient } from './client.ts';

export interface CertificateWish {
  readonly nodeName: string;
  /** PEM; stays here. */
  readonly key: string;
  /** What the node is to the API server, or what its agent shows to those who call it. */
  readonly usage: 'client' | 'server';
}

const POLL_MS = 200;

/**
 * Asks for a certificate and waits until it is signed; answers its PEM. Throws Forbidden with the words of who denied it, and
 * what the server says of the caller; a server that is away is waited for until `signal` fires.
 */
export async function requestCertificate(
  client: ApiClient,
  { nodeName, key, usage }: CertificateWish,
  signal: AbortSignal,
  clock: Clock = systemClock,
): Promise<string> {
  const request = await createCertificateRequest(key, {
    commonName: `${NODE_USER}${nodeName}`,
    organizations: [NODE_GROUP],
    dnsNames: usage === 'server' ? [nodeName] : [],
  });
  const requests = client.kind<CertificateSigningRequest>(signingRequestKind);
  // Nobody can guess the name, so that nobody else's request is taken for this one.
  const name = `node-csr-${randomBytes(12).toString('hex')}`;
  const spec = {
    request: Buffer.from(request).toString('base64'),
    signerName: usage === 'client' ? NODE_CLIENT_SIGNER : NODE_SERVING_SIGNER,
    usages: ['digital signature', usage === 'client' ? 'client auth' : 'server auth'],
  };
  await requests.create({ metadata: { name }, spec }, signal);
  for (;;) {
    try {
      const found = await requests.get(name, undefined, signal);
      if (!found) throw new WindlassError('NotFound', `the request ${name} was deleted before it was answered`);
      const certificate = answerOf(found);
      if (certificate !== undefined) return certificate;
    } catch (error) {
      if (!isUnavailable(error) && reasonOf(error) !== 'Timeout') throw error;
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** The PEM certificate of an answered request; undefined while nobody has answered. Throws Forbidden for a denied one. */
function answerOf({ metadata, status }: CertificateSigningRequest): string | undefined {
  const refusal = status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
  if (refusal) throw new WindlassError('Forbidden', refusal.message ?? `the request ${metadata.name} was denied`);
  return status?.certificate ? Buffer.from(status.certificate, 'base64').toString('utf8') : undefined;
}
