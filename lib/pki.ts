// The instance's own certificate authority and the certificates signed by it (X.509 v3, ECDSA P-256).
import 'reflect-metadata';
import { randomBytes, type webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
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

/** A certificate for `request`, signed by `authority`. */
export async function issueCertificate(authority: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const issuer = new x509.X509Certificate(authority.cert);
  const signingKey = await crypto.subtle.importKey(
    'pkcs8',
    x509.PemConverter.decodeFirst(authority.key),
    ALGORITHM,
    false,
    ['sign'],
  );
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const usages = { client: [clientAuth], server: [serverAuth], both: [serverAuth, clientAuth] }[request.usage];
  const names = (request.hosts ?? []).map((host) => ({
    type: isIP(host) ? ('ip' as const) : ('dns' as const),
    value: host,
  }));
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ CN: [request.commonName] }, ...(request.organizations ?? []).map((name) => ({ O: [name] }))],
    issuer: issuer.subject,
    notBefore: new Date(request.now - CLOCK_SKEW_MS),
    notAfter: new Date(Math.min(request.now + request.days * DAY_MS, issuer.notAfter.getTime())),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { cert: pem(cert), key: await privateKeyPem(keys.privateKey) };
}

/** When a PEM certificate runs out, in milliseconds since the epoch. */
export function certificateExpiry(cert: string): number {
  return new x509.X509Certificate(cert).notAfter.getTime();
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
