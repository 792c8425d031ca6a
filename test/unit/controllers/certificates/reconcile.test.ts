import assert from 'node:assert/strict';
import test from 'node:test';
import { createCertificateReconciler } from '../../../../controllers/certificates/reconcile.ts';
import { nodeKind, signingRequestKind, type CertificateSigningRequest, type Node } from '../../../../crds/builtin.ts';
import { NODE_CLIENT_SIGNER, NODE_KEY_ANNOTATION, NODE_SERVING_SIGNER } from '../../../../crds/join.ts';
import { createCertificateRequest, createPrivateKeyPem, keyHashOf } from '../../../../lib/certificate-request.ts';
import { systemClock } from '../../../../lib/clock.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { certificateHosts, certificateUserId, createAuthority } from '../../../../lib/pki.ts';
import { createMemoryClient } from '../../client/memory-client.ts';

test('what a node shows is known by its common name: no host name is signed, whatever the node is called', async () => {
  const now = systemClock.now();
  const client = createMemoryClient();
  const authority = await createAuthority('test', 1, now);
  const key = createPrivateKeyPem();
  const node = { metadata: { name: 'kubernetes', uid: 'n1', annotations: { [NODE_KEY_ANNOTATION]: keyHashOf(key) } } };
  await client.kind<Node>(nodeKind).create(node);
  const reconcile = createCertificateReconciler({
    ...{ client, authority, maxSeconds: 3_600, clock: systemClock },
    events: { record: () => undefined },
  });
  const requests = client.kind<CertificateSigningRequest>(signingRequestKind);
  const ask = async (name: string, signerName: string, usage: string, dnsNames: readonly string[]): Promise<string> => {
    const subject = { commonName: 'system:node:kubernetes', organizations: ['system:nodes'], dnsNames };
    const request = Buffer.from(await createCertificateRequest(key, subject)).toString('base64');
    await requests.create({
      metadata: { name, creationTimestamp: new Date(now).toISOString() },
      spec: {
        ...{ request, signerName, usages: [usage] },
        ...{ username: 'system:node:kubernetes', groups: ['system:nodes'] },
      },
    });
    await reconcile(name, { signal: AbortSignal.timeout(60_000), log: silentLogger() });
    const answered = await requests.get(name, undefined);
    return Buffer.from(answered?.status?.certificate ?? '', 'base64').toString('utf8');
  };

  const serving = await ask('serving', NODE_SERVING_SIGNER, 'server auth', ['kubernetes']);
  assert.deepEqual([certificateHosts(serving), certificateUserId(serving)], [[], undefined]);
  const own = await ask('client', NODE_CLIENT_SIGNER, 'client auth', []);
  assert.deepEqual([certificateHosts(own), certificateUserId(own)], [[], 'n1']);
});

test('a request that is kept by its finalizers is not removed again and again', async () => {
  const client = createMemoryClient();
  const past = '2020-01-01T00:00:00Z';
  const metadata = { name: 'kept', creationTimestamp: past, deletionTimestamp: past, finalizers: ['example.com/stay'] };
  await client
    .kind<CertificateSigningRequest>(signingRequestKind)
    .create({ metadata, spec: { request: '', signerName: NODE_CLIENT_SIGNER, usages: [] } });
  const reconcile = createCertificateReconciler({
    ...{ client, authority: { cert: '', key: '' }, maxSeconds: 1, clock: systemClock },
    events: { record: () => undefined },
  });
  client.calls.length = 0;
  assert.deepEqual(await reconcile('kept', { signal: AbortSignal.timeout(60_000), log: silentLogger() }), {});
  assert.deepEqual(client.calls, ['get certificatesigningrequests//kept']);
});
