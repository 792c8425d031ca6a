// The instance's own certificate authority and the certificates signed by it (X.509 v3, ECDSA P-256).
import 'reflect-metadata';
import { randomBytes, type webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

/** Of every key here. */
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** UID of a subject, RFC 4519 2.39. */
const USER_ID = '0.9.2342.19200300.100.1.1';
const DAY_MS = 24 * 60 * 60 * 1000;
/** Clocks of two machines may differ a little: a certificate is valid from a few minutes before it is made. */
const CLOCK_SKEW_MS = 5 * 60 * 1000;

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** Groups of the user, for client certificates. */
  readonly organizations?: readonly string[];
  /** What tells two bearers of one name apart: the UID of the Node. */
  readonly userId?: string;
  /** DNS names and IP addresses, for serving certificates. */
  readonly hosts?: readonly string[];
  /** What its holder does with it; etcd's members do both with one. */
  readonly usage: 'client' | 'server' | 'both';
  readonly days: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A self-signed authority valid for `days`. */
export async function createAuthority(commonName: string, days: number, now: number): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ CN: [commonName] }],
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(now + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(cert), key: await privateKeyPem(keys.privateKey) };
}

/** A certificate for `request` and a new key, signed by `authority`. */
export async function issueCertificate(authority: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const { days, ...rest } = request;
  const cert = await signCertificate(authority, keys.publicKey, { ...rest, seconds: (days * DAY_MS) / 1000 });
  return { cert, key: await privateKeyPem(keys.privateKey) };
}

/** A PEM certificate for the public key that somebody else holds the private key of. */
export async function signCertificate(
  authority: KeyPair,
  publicKey: x509.PublicKeyType,
  request: Omit<CertificateRequest, 'days'> & { readonly seconds: number },
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.cert);
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const usages = { client: [clientAuth], server: [serverAuth], both: [serverAuth, clientAuth] }[request.usage];
  const names = (request.hosts ?? []).map((host) => ({
    type: isIP(host) ? ('ip' as const) : ('dns' as const),
    value: host,
  }));
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [
      { CN: [request.commonName] },
      ...(request.organizations ?? []).map((name) => ({ O: [name] })),
      ...(request.userId === undefined ? [] : [{ [USER_ID]: [request.userId] }]),
    ],
    issuer: issuer.subject,
    notBefore: new Date(request.now - CLOCK_SKEW_MS),
    notAfter: new Date(Math.min(request.now + request.seconds * 1000, issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: await importPrivateKey(authority.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return pem(cert);
}

/** A PEM (PKCS #8) private key, to sign with. */
export function importPrivateKey(key: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(key), ALGORITHM, false, ['sign']);
}

/** When one of our PEM certificates was made and when it runs out, in milliseconds since the epoch. */
export function certificateLife(cert: string): { readonly issuedAt: number; readonly notAfter: number } {
  const { notBefore, notAfter } = new x509.X509Certificate(cert);
  return { issuedAt: notBefore.getTime() + CLOCK_SKEW_MS, notAfter: notAfter.getTime() };
}

/** The UID in the subject of a PEM certificate: that of the Node, when its holder joined. */
export function certificateUserId(cert: string): string | undefined {
  return new x509.X509Certificate(cert).subjectName.getField(USER_ID)[0];
}

/** DNS names and IP addresses a PEM certificate is valid for. */
export function certificateHosts(cert: string): string[] {
  const extension = new x509.X509Certificate(cert).getExtension(x509.SubjectAlternativeNameExtension);
  return extension ? extension.names.toJSON().map((name) => String(name.value)) : [];
}

// RFC 5280 4.1.2.2: positive, at most 20 octets; the cleared top bit keeps it positive.
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return bytes.toString('hex');
}

const pem = (cert: x509.X509Certificate): string => `${cert.toString('pem')}\n`;

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}
