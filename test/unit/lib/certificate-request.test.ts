import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import test from 'node:test';
import {
  createCertificateRequest,
  createPrivateKeyPem,
  isRequestSigned,
  keyHashOf,
  parseCertificateRequest,
  signRequest,
} from '../../../lib/certificate-request.ts';
import { certificateHosts, certificateLife, certificateUserId, createAuthority } from '../../../lib/pki.ts';

const subject = { commonName: 'system:node:a', organizations: ['system:nodes'] };

test('a request says who asks for what, and by which key', async () => {
  const key = createPrivateKeyPem();
  const pem = await createCertificateRequest(key, { ...subject, dnsNames: ['a'] });
  assert.deepEqual(parseCertificateRequest(pem), {
    ...{ ...subject, dnsNames: ['a'], otherNames: [] },
    keyHash: keyHashOf(key),
  });
  assert.equal(await isRequestSigned(pem), true);
  const [first = '', ...rest] = pem.split('\n');
  const body = Buffer.from(rest.slice(0, -2).join(''), 'base64');
  body[body.length - 1] = (body[body.length - 1] ?? 0) ^ 1;
  const forged = `${first}\n${body.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  assert.equal(await isRequestSigned(forged), false);
});

test('the certificate that answers it has its key, and what the signer says', async () => {
  const now = Date.now();
  const [authority, key] = [await createAuthority('ca', 1, now), createPrivateKeyPem()];
  const pem = await createCertificateRequest(key, { commonName: 'admin', organizations: ['system:masters'] });
  const cert = await signRequest(authority, pem, {
    ...{ ...subject, userId: 'uid-1', hosts: ['a'], usage: 'client', seconds: 60, now },
  });
  const read = new X509Certificate(cert);
  assert.equal(read.subject, 'CN=system:node:a\nO=system:nodes\nUID=uid-1');
  assert.equal(read.verify(new X509Certificate(authority.cert).publicKey), true);
  assert.equal(keyHashOf(cert), keyHashOf(key));
  assert.equal(certificateUserId(cert), 'uid-1');
  assert.deepEqual(certificateHosts(cert), ['a']);
  const { issuedAt, notAfter } = certificateLife(cert);
  assert.equal(Math.round((notAfter - issuedAt) / 1000), 60);
});

test('what is no request is refused', () => {
  for (const text of ['', 'x', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n']) {
    assert.throws(() => parseCertificateRequest(text), /not a PEM certificate request/);
  }
});
