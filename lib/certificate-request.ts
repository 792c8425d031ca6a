// Certificate signing requests (PKCS #10) of nodes: made where the key is, checked and answered where the authority is.
import 'reflect-metadata';
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { messageOf, WindlassError } from './errors.ts';
import { ALGORITHM, importPrivateKey, signCertificate, type KeyPair } from './pki.ts';

/** What a request asks for. */
export interface ParsedRequest {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  /** IP addresses, URIs and mail addresses: nothing here signs them. */
  readonly otherNames: readonly string[];
  /** `sha256:<hex>` of the public key. */
  readonly keyHash: string;
}

/** A new private key, PEM (PKCS #8, ECDSA P-256). */
export function createPrivateKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** A PEM request for a certificate of `key`, signed with it. */
export async function createCertificateRequest(
  key: string,
  subject: { commonName: string; organizations: readonly string[]; dnsNames?: readonly string[] },
): Promise<string> {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const publicKey = await crypto.subtle.importKey('spki', new Uint8Array(spki), ALGORITHM, true, ['verify']);
  const names = (subject.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value }));
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [subject.commonName] }, ...subject.organizations.map((name) => ({ O: [name] }))],
    keys: { privateKey: await importPrivateKey(key), publicKey },
    signingAlgorithm: ALGORITHM,
    extensions: names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [],
  });
  return `${request.toString('pem')}\n`;
}

/** Reads a PEM request. Throws BadRequest when it is none. */
export function parseCertificateRequest(pem: string): ParsedRequest {
  const request = decodeRequest(pem);
  const extension = request.extensions.find((each) => each instanceof x509.SubjectAlternativeNameExtension);
  const names = extension ? extension.names.toJSON() : [];
  const valuesOf = (isWanted: (type: string) => boolean): string[] =>
    names.filter(({ type }) => isWanted(type)).map(({ value }) => String(value));
  return {
    commonName: request.subjectName.getField('CN').join(','),
    organizations: request.subjectName.getField('O'),
    dnsNames: valuesOf((type) => type === 'dns'),
    otherNames: valuesOf((type) => type !== 'dns'),
    keyHash: hashKey(Buffer.from(request.publicKey.rawData)),
  };
}

/** Whether who made the request has the key it names. */
export async function isRequestSigned(pem: string): Promise<boolean> {
  try {
    return await decodeRequest(pem).verify();
  } catch {
    // A key of a kind that cannot be checked proves nothing.
    return false;
  }
}

/** The certificate that answers a request: the key is the request's, all else is what `certificate` says. */
export function signRequest(
  authority: KeyPair,
  pem: string,
  certificate: {
    commonName: string;
    organizations: readonly string[];
    userId?: string;
    hosts?: readonly string[];
    usage: 'client' | 'server';
    seconds: number;
    now: number;
  },
): Promise<string> {
  return signCertificate(authority, decodeRequest(pem).publicKey, certificate);
}

/** `sha256:<hex>` of the public key of a PEM certificate or private key. */
export function keyHashOf(pem: string): string {
  const key = pem.includes('PRIVATE KEY') ? createPublicKey(createPrivateKey(pem)) : new X509Certificate(pem).publicKey;
  return hashKey(key.export({ type: 'spki', format: 'der' }));
}

const hashKey = (spki: Buffer): string => `sha256:${createHash('sha256').update(spki).digest('hex')}`;

function decodeRequest(pem: string): x509.Pkcs10CertificateRequest {
  try {
    if (!pem.includes('-----BEGIN CERTIFICATE REQUEST-----')) throw new Error('no CERTIFICATE REQUEST block');
    return new x509.Pkcs10CertificateRequest(pem);
  } catch (error) {
    throw new WindlassError('BadRequest', `not a PEM certificate request: ${messageOf(error)}`, { cause: error });
  }
}
