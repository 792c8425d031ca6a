// Joining without the node's processes: the real API server over etcd, the real controllers, and the code that asks.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { joinCluster } from '../../../cli/join/join.ts';
import { createOutput } from '../../../cli/output.ts';
import { createToken, getToken, revokeToken } from '../../../cli/tokens/tokens.ts';
import { createApiClient } from '../../../client/api-client.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { requestCertificate } from '../../../client/request-certificate.ts';
import { nodeKind, secretKind, signingRequestKind, type CertificateSigningRequest } from '../../../crds/builtin.ts';
import { BOOTSTRAP_TOKEN_TYPE, NODE_CLIENT_SIGNER } from '../../../crds/join.ts';
import { createCertificateRequest, createPrivateKeyPem, keyHashOf } from '../../../lib/certificate-request.ts';
import { reasonOf } from '../../../lib/errors.ts';
import { describeInstance, type Instance } from '../../../lib/instance.ts';
import { certificateUserId, issueCertificate, type KeyPair } from '../../../lib/pki.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { runCommand } from '../../support/instance.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

test('joining', async (t) => {
  if (!requirePrograms(t, 'etcd', 'kubectl')) return;
  const api = await startTestApiserver();
  t.after(() => api[Symbol.asyncDispose]());
  const [caCert, caKey] = ['ca.crt', 'ca.key'].map((name) => join(api.folder, name)) as [string, string];
  writeFileSync(caCert, api.authority.cert);
  writeFileSync(caKey, api.authority.key, { mode: 0o600 });
  const controllers = startTestControllers(api.kubeconfig, ['--ca-cert', caCert, '--ca-key', caKey]);
  t.after(() => controllers[Symbol.asyncDispose]());
  const admin = createApiClient(readKubeconfig(api.kubeconfig));
  t.after(() => admin.close());
  const homes = mkdtempSync(join(tmpdir(), 'windlass-join-'));
  t.after(() => rmSync(homes, { recursive: true, force: true }));

  const caHash = keyHashOf(api.ca);
  const { signal } = new AbortController();
  const machine = (name: string): Instance => {
    const home = join(homes, name);
    mkdirSync(home, { recursive: true });
    return describeInstance(home, join(homes, `${name}-run`));
  };
  const wish = { description: '', uses: undefined, ttlSeconds: 3_600, now: Date.now() };
  type Flags = Partial<Parameters<typeof joinCluster>[1]>;
  /** Joins as the machine `name`; answers what it said. */
  const joinAs = async (name: string, flags: Flags): Promise<string> => {
    let said = '';
    const stream = { write: (chunk: string) => (said += chunk) } as unknown as NodeJS.WriteStream;
    const output = createOutput({ stdout: stream, stderr: stream, env: {} });
    await joinCluster(machine(name), { server: [api.url], caHash, nodeName: name, ...flags } as never, {
      output,
      signal,
    });
    return said;
  };
  const pairOf = (name: string): KeyPair => ({
    cert: readFileSync(join(homes, name, 'pki', 'node.crt'), 'utf8'),
    key: readFileSync(join(homes, name, 'pki', 'node.key'), 'utf8'),
  });

  await t.test('a token becomes a certificate that carries the UID of the Node', async () => {
    const token = await createToken(admin, wish);
    assert.match(await joinAs('a', { token }), /joined https:\/\/.* as node a/);
    const node = await admin.kind(nodeKind).get('a', undefined);
    assert.equal(certificateUserId(pairOf('a').cert), node?.metadata.uid);
    const self = await api.request('GET', '/api/v1/nodes/a', { as: pairOf('a') });
    assert.equal(self.status, 200);
    assert.match(await joinAs('a', { token }), /already joined .* the token was not used/);
  });

  await t.test('wrong hash, wrong server, wrong clock, wrong cluster', async () => {
    const token = await createToken(admin, wish);
    const wrong = `sha256:${'0'.repeat(64)}`;
    await assert.rejects(
      joinAs('b', { token, caHash: wrong }),
      /is another cluster, or somebody in between; nothing was told/,
    );
    await assert.rejects(
      joinAs('b', { token, server: ['https://127.0.0.1:1'] }),
      /cannot be reached: nothing listens there/,
    );
    await assert.rejects(
      joinAs('b', { token, server: ['https://no-such-host.invalid:1'] }),
      /cannot be reached: the(re| host)/,
    );
    await assert.rejects(joinAs('a', { token, caHash: wrong }), /has joined another cluster/);
    await assert.rejects(joinAs('a', { token, nodeName: 'b' }), /has joined as node a, not b/);
    await assert.rejects(joinAs('b', { server: undefined }), /missing --server, --token: /);
    const { url, close } = await startStranger(api, 'Thu, 01 Jan 2026 00:00:00 GMT');
    t.after(close);
    await assert.rejects(
      joinAs('b', { token, server: [url] }),
      /the clock of this machine is \d+ s ahead of the server's/,
    );
    assert.equal(await admin.kind(nodeKind).get('b', undefined), undefined);
  });

  await t.test('of two servers the one that answers is taken', async () => {
    const said = await joinAs('c', { token: await createToken(admin, wish), server: ['https://127.0.0.1:1', api.url] });
    assert.match(said, new RegExp(`joined ${api.url}`));
  });

  await t.test('tokens: unknown, revoked, expired, for something else, used up', async () => {
    await assert.rejects(joinAs('d', { token: 'abcdef.0123456789abcdef' }), /the token abcdef is not known/);
    const revoked = await createToken(admin, wish);
    await assert.rejects(joinAs('d', { token: `${revoked.slice(0, 7)}${'x'.repeat(16)}` }), /is not known/);
    await revokeToken(admin, revoked.slice(0, 6));
    await assert.rejects(joinAs('d', { token: revoked }), /is not known: it was revoked/);
    const expired = await createToken(admin, { ...wish, now: Date.now() - 7_200_000 });
    await assert.rejects(joinAs('d', { token: expired }), /expired at 20/);
    const data = { 'token-id': 'kubadm', 'token-secret': '0123456789abcdef', 'usage-bootstrap-authentication': 'true' };
    const encoded = Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    );
    const metadata = { name: 'bootstrap-token-kubadm', namespace: 'kube-system' };
    const stored = await admin
      .kind(secretKind)
      .create({ metadata, type: BOOTSTRAP_TOKEN_TYPE, data: encoded } as never);
    assert.equal(JSON.stringify(stored).includes(encoded['token-secret'] ?? ''), false, 'the secret is stored');
    await assert.rejects(joinAs('d', { token: 'kubadm.0123456789abcdef' }), /the token kubadm is not for nodes/);
    const manifest = { apiVersion: 'v1', kind: 'Secret', type: BOOTSTRAP_TOKEN_TYPE, metadata, stringData: data };
    const applied = await runCommand('kubectl', ['apply', '-f', '-'], {
      env: { ...process.env, KUBECONFIG: api.kubeconfig, HOME: api.folder },
      input: JSON.stringify(manifest),
    });
    assert.equal(applied.code, 0, applied.stderr);
    const kept = await admin.kind(secretKind).get(metadata.name, metadata.namespace);
    assert.doesNotMatch(JSON.stringify(kept), /0123456789abcdef/);
    const forServers = await createToken(admin, { ...wish, role: 'server' });
    await assert.rejects(joinAs('d', { token: forServers }), /the token \w{6} is not for nodes/);
    const once = await createToken(admin, { ...wish, uses: 1 });
    await joinAs('d', { token: once });
    await assert.rejects(joinAs('e', { token: once }), /is used up: it was for 1, and was used by d/);
  });

  await t.test('a name belongs to the key that claimed it, and a lost race costs no use', async () => {
    const token = await createToken(admin, { ...wish, uses: 2 });
    await assert.rejects(joinAs('thief', { token, nodeName: 'a' }), (error: Error) => {
      assert.equal(reasonOf(error), 'Forbidden');
      return /the name "a" belongs to a node with another key/.test(error.message);
    });
    assert.equal((await getToken(admin, token.slice(0, 6))).used, 0);
    const outcomes = await Promise.allSettled(
      ['r1', 'r2', 'r3'].map((name) => joinAs(name, { token, nodeName: 'race' })),
    );
    assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected', 'rejected']);
    assert.equal((await getToken(admin, token.slice(0, 6))).used, 1);
  });

  await t.test('a node renews by the certificate it has, with its key and for its name only', async () => {
    const pair = pairOf('a');
    const client = createApiClient({ server: api.url, ca: api.ca, namespace: 'default', ...pair });
    t.after(() => client.close());
    const ask = (nodeName: string, key: string): Promise<string> =>
      requestCertificate(client, { nodeName, key, usage: 'client' }, AbortSignal.timeout(20_000));
    const renewed = await ask('a', pair.key);
    assert.equal(certificateUserId(renewed), certificateUserId(pair.cert));
    const other = createPrivateKeyPem();
    await assert.rejects(
      ask('a', other),
      (error) => reasonOf(error) === 'Forbidden' && /a node keeps its key/.test(String(error)),
    );
    await assert.rejects(ask('c', pair.key), /system:node:a may not ask for a certificate of "system:node:c"/);
    const patch = { metadata: { annotations: { 'windlass.dev/node-key': keyHashOf(other) } } };
    await assert.rejects(client.kind(nodeKind).mergePatch('a', undefined, patch), /may not change its annotation/);
  });

  await t.test('a token opens nothing else', async () => {
    const headers = { authorization: `Bearer ${await createToken(admin, wish)}` };
    for (const path of [
      '/api/v1/nodes',
      '/api/v1/namespaces/kube-system/secrets',
      '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    ]) {
      const { status, text } = await api.request('GET', path, { headers, as: null });
      assert.equal(status, 403, path);
      assert.match(text, /a join token may only ask for the certificate of a node/);
    }
    const body = await requestBody('system:node:x', 'kubernetes.io/kubelet-serving');
    const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
    const refused = await api.request('POST', path, {
      headers: { ...headers, 'content-type': 'application/json' },
      as: null,
      body,
    });
    assert.equal(refused.status, 403, refused.text);
    assert.equal((await api.request('GET', '/api/v1/nodes', { as: null })).status, 401);
  });

  await t.test('kubectl shows, approves and denies what nobody answers by itself', async () => {
    const kubectl = (...args: string[]) =>
      runCommand('kubectl', args, { env: { ...process.env, KUBECONFIG: api.kubeconfig, HOME: api.folder } });
    const requests = admin.kind<CertificateSigningRequest>(signingRequestKind);
    for (const name of ['good', 'bad'])
      await requests.create(await requestBody(`system:node:${name}`, NODE_CLIENT_SIGNER, name));
    assert.match(
      (await kubectl('get', 'csr', 'good')).stdout,
      /good +\S+ +kubernetes.io\/kube-apiserver-client-kubelet +admin +<none> +Pending/,
    );
    const approved = await kubectl('certificate', 'approve', 'good');
    assert.equal(approved.code, 0, approved.stderr);
    const denied = await kubectl('certificate', 'deny', 'bad');
    assert.equal(denied.code, 0, denied.stderr);
    await waitFor(async () => (await kubectl('get', 'csr', 'good')).stdout.includes('Approved,Issued'), {
      what: 'the certificate',
    });
    assert.match((await kubectl('get', 'csr', 'bad')).stdout, / Denied/);
    assert.equal(await admin.kind(nodeKind).get('bad', undefined), undefined);
    const wrong = await api.request('PATCH', `/apis/certificates.k8s.io/v1/certificatesigningrequests/bad/approval`, {
      headers: { 'content-type': 'application/merge-patch+json' },
      body: { status: { conditions: [] } },
    });
    assert.match(wrong.text, /a condition of type Denied may not be removed/);
  });

  await t.test('a Node that is deleted is refused at once, and what it had open is closed', async () => {
    const client = createApiClient({ server: api.url, ca: api.ca, namespace: 'default', ...pairOf('c') });
    t.after(() => client.close());
    const opened = Promise.withResolvers<void>();
    const follow = async (): Promise<void> => {
      // From 0 on it begins with what is there: one event, and it is open.
      const watch = client.kind(nodeKind).watch({ resourceVersion: '0' }, AbortSignal.timeout(20_000));
      for await (const event of watch) opened.resolve(void event);
    };
    const ended = follow().then(
      () => 'ended by the test',
      (error: Error) => error.message,
    );
    await Promise.race([opened.promise, ended]);
    await admin.kind(nodeKind).delete('c', undefined);
    assert.match(await ended, /cannot be reached|closed|terminated/);
    await assert.rejects(
      client.kind(nodeKind).get('c', undefined),
      /node "c" was deleted, or another machine has joined/,
    );
    await assert.rejects(client.kind(nodeKind).create({ metadata: { name: 'c' } }), /was deleted/);
    await assert.rejects(joinAs('c', { server: [api.url] }), /node "c" was deleted/);
    await joinAs('c', { server: [api.url], token: await createToken(admin, wish) });
    assert.equal((await api.request('GET', '/api/v1/nodes/c', { as: pairOf('c') })).status, 200);
  });

  await t.test(
    'a node of a machine that has the authority keeps its name until another one has joined as that',
    async () => {
      const commonName = 'system:node:up';
      const own = await issueCertificate(api.authority, {
        ...{ commonName, organizations: ['system:nodes'], usage: 'client', days: 1, now: Date.now() },
      });
      const nodes = createApiClient({ server: api.url, ca: api.ca, namespace: 'default', ...own });
      t.after(() => nodes.close());
      const asNode = nodes.kind(nodeKind);
      await asNode.create({ metadata: { name: 'up' } });
      assert.match(
        await refusalOf(joinAs('up', { token: await createToken(admin, wish) })),
        /belongs to a node with another key/,
      );
      // Deleted and made again by itself, it is the same machine.
      await admin.kind(nodeKind).delete('up', undefined);
      await asNode.create({ metadata: { name: 'up' } });
      const ended = asNode.watch({ resourceVersion: '0' }, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
      await ended.next();
      await admin.kind(nodeKind).delete('up', undefined);
      await joinAs('up', { token: await createToken(admin, wish) });
      await assert.rejects(async () => {
        for (;;) if ((await ended.next()).done === true) return;
      }, /cannot be reached|closed|terminated/);
      await assert.rejects(asNode.get('up', undefined), /another machine has joined as node "up"/);
      assert.equal((await api.request('GET', '/api/v1/nodes/up', { as: pairOf('up') })).status, 200);
    },
  );
});

const refusalOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'it was not refused',
    (error: Error) => error.message,
  );

async function requestBody(commonName: string, signerName: string, name = 'request') {
  const request = await createCertificateRequest(createPrivateKeyPem(), {
    commonName,
    organizations: ['system:nodes'],
  });
  const usages = ['digital signature', 'client auth'];
  return { metadata: { name }, spec: { request: Buffer.from(request).toString('base64'), signerName, usages } };
}

/** Another listener with the cluster's authority, whose clock is wrong. */
async function startStranger(api: TestApiserver, date: string): Promise<{ url: string; close: () => void }> {
  const now = Date.now();
  const pair = await issueCertificate(api.authority, {
    ...{ commonName: 'x', hosts: ['127.0.0.1'], usage: 'server', days: 1, now },
  });
  const server = createServer({ cert: pair.cert, key: pair.key }, (request, response) => {
    response.setHeader('Date', date);
    response.end(request.url === '/ca.crt' ? api.ca : '{"gitVersion":"v1.32.4+windlass-0.1.0"}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}`, close: () => void server.close() };
}
