// Two servers on one etcd, and a node that knows both: either may die. Its certificates are short, so that they are renewed
// meanwhile.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { certificateUserId } from '../../lib/pki.ts';
import { busyboxOn } from '../support/busybox.ts';
import { startTestEtcd } from '../support/etcd.ts';
import { createInstance, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const CERTIFICATE_SECONDS = 40;

test('two servers on one etcd', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const etcd = await startTestEtcd();
  t.after(() => etcd[Symbol.asyncDispose]());
  const [one, two, node] = (await Promise.all([1, 2, 3].map(() => createInstance({ sandboxPool: 0 })))) as [
    TestInstance,
    TestInstance,
    TestInstance,
  ];
  for (const instance of [one, two, node]) t.after(() => instance[Symbol.asyncDispose]());
  const short = ['--node-certificate-seconds', String(CERTIFICATE_SECONDS)];
  const serve = (instance: TestInstance, flags: readonly string[] = []) =>
    instance.start(['server', '--listen', instance.listen, '--etcd-servers', etcd.url, ...short, ...flags]);
  const isReady = async (through: TestInstance): Promise<boolean> =>
    (await through.kubectl(['wait', '--for=condition=Ready', 'node/worker', '--timeout=1s'])).code === 0;

  const read = (name: string): string => readFileSync(join(node.home, 'pki', name), 'utf8');
  let before = { client: '', serving: '', key: '' };

  const first = await serve(one);
  const command = first.stdout.trim().split(' ');
  const valueOf = (flag: string): string => command[command.indexOf(flag) + 1] ?? '';
  assert.equal(valueOf('--server'), `https://${one.listen}`);

  await t.test('the second shares the authority of the first, and its tokens', async () => {
    const pki = join(one.home, 'pki');
    const authority = ['--ca-cert', join(pki, 'ca.crt'), '--ca-key', join(pki, 'ca.key')];
    const alone = await two.windlass(['server', '--listen', two.listen, ...authority]);
    assert.match(alone.stderr, /--ca-cert and --ca-key are for a further server/);
    const wrong = [...authority.slice(0, 3), join(pki, 'admin.key')];
    const mixed = await two.windlass(['server', '--listen', two.listen, '--etcd-servers', etcd.url, ...wrong]);
    assert.match(mixed.stderr, /--ca-key .*admin\.key is not the key of --ca-cert/);
    assert.equal(mixed.code, 2);
    const second = await serve(two, authority);
    assert.match(second.stderr, /Another machine joins with what this prints: windlass token create/);
    assert.equal((await two.windlass(['token', 'list'])).stdout, (await one.windlass(['token', 'list'])).stdout);
  });

  await t.test('a node joins by the one that answers, and runs what it is given', async () => {
    const servers = `https://127.0.0.1:1,https://${one.listen},https://${two.listen}`;
    const flags = ['--token', valueOf('--token'), '--ca-hash', valueOf('--ca-hash'), '--node-name', 'worker'];
    const { stderr } = await node.start(['node', '--server', servers, ...flags]);
    assert.match(stderr, new RegExp(`joined https://${one.listen} as node worker`));
    before = { client: read('node.crt'), serving: read('node-agent.crt'), key: read('node.key') };
    await one.apply(await containerOn('worker', 'web'));
    await one.kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s']);
  });

  await t.test('its certificates are renewed with the key that it has, while it works on', async () => {
    await waitFor(() => read('node.crt') !== before.client && read('node-agent.crt') !== before.serving, {
      timeoutMs: 2 * CERTIFICATE_SECONDS * 1000,
      what: 'new certificates',
    });
    assert.deepEqual(
      [read('node.key'), certificateUserId(read('node.crt'))],
      [before.key, certificateUserId(before.client)],
    );
    assert.equal(await one.kubectlOk(['exec', 'web', '--', 'echo', 'still']), 'still\n');
  });

  await t.test('with the first gone, the node, kubectl, logs and the controllers go on by the second', async () => {
    assert.equal((await one.windlass(['down'])).code, 0);
    await two.apply(await containerOn('worker', 'later'));
    await two.kubectlOk(['wait', '--for=condition=Ready', 'ctr/later', '--timeout=60s']);
    assert.match(await two.kubectlOk(['logs', 'web']), /hello from web/);
    // Written by whoever leads now.
    await two.kubectlOk(['wait', '--for=condition=Ready', 'services.windlass.dev/empty-later', '--timeout=60s']);
    await waitFor(() => isReady(two), { timeoutMs: 30_000, what: 'the node being Ready' });
  });
});

/** With a Service of no replicas beside it. */
const containerOn = async (node: string, name: string): Promise<string> => `${await busyboxOn(node, name)}
---
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: empty-${name} }
spec: { replicas: 0, template: { spec: { imageName: busybox } } }`;
