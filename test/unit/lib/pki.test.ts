import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { certificateHosts, createAuthority, issueCertificate } from '../../../lib/pki.ts';

test('issueCertificate() makes serving and client certificates that TLS accepts', async () => {
  const now = Date.now();
  const authority = await createAuthority('windlass-ca', 10, now);
  const serving = await issueCertificate(authority, {
    commonName: 'apiserver',
    hosts: ['localhost', '127.0.0.1'],
    usage: 'server',
    days: 1,
    now,
  });
  const client = await issueCertificate(authority, {
    commonName: 'admin',
    organizations: ['system:masters'],
    usage: 'client',
    days: 1,
    now,
  });
  const server = createServer(
    { ...serving, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    (socket) => {
      const { subject } = socket.getPeerCertificate();
      socket.end(`${subject.CN}/${subject.O}`);
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    ca: authority.cert,
    ...client,
  });
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  server.close();
  assert.equal(text, 'admin/system:masters');
});

test('issueCertificate() never outlives its authority', async () => {
  const now = Date.now();
  const authority = await createAuthority('windlass-ca', 1, now);
  const leaf = await issueCertificate(authority, { commonName: 'x', hosts: ['::1'], usage: 'server', days: 30, now });
  assert.equal(new X509Certificate(leaf.cert).validTo, new X509Certificate(authority.cert).validTo);
  assert.equal(new X509Certificate(leaf.cert).checkIssued(new X509Certificate(authority.cert)), true);
  assert.equal(certificateHosts(leaf.cert).length, 1);
});
