// Three etcd members: one may die, two may not, and whoever asks then is told.
import assert from 'node:assert/strict';
import test from 'node:test';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestEtcdMembers, type TestEtcd } from '../../support/etcd.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

test('92 of three members one may die; without a majority the refusal says so, and nothing is lost', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  const members = await startTestEtcdMembers(3);
  t.after(async () => {
    for (const member of members) await member[Symbol.asyncDispose]();
  });
  const [one, two] = members as [TestEtcd, TestEtcd, TestEtcd];
  await using api = await startTestApiserver({ etcd: one, etcdServers: members.map(({ url }) => url) });
  const create = (name: string): Promise<number> =>
    api.request('POST', MAPS, { body: { metadata: { name } } }).then(({ status }) => status);
  assert.equal(await create('with-three'), 201);

  await one.kill();
  // If it led, another one is elected first; a request in that moment is refused.
  await waitFor(async () => (await create('with-two')) === 201, {
    what: 'a write with two of three',
    timeoutMs: 30_000,
  });
  // Whichever member a request would have gone to: nobody notices that this one is gone.
  for (let index = 0; index < 20; index += 1) {
    const body = { metadata: { name: `more-${index}` } };
    for (const { text } of [await api.request('POST', MAPS, { body }), await api.request('GET', `${MAPS}/with-three`)])
      assert.doesNotMatch(text, /No connection established/);
  }

  await two.kill();
  const refused = await api.request('POST', MAPS, { body: { metadata: { name: 'with-one' } } });
  assert.ok(refused.status === 503 || refused.status === 504, refused.text);
  assert.match(refused.json<{ message: string }>().message, /etcd|the store did not answer/, refused.text);
  assert.equal((await api.request('GET', '/livez')).status, 200);

  await two.start();
  await waitFor(async () => (await create('again')) === 201, { what: 'a write after the return', timeoutMs: 30_000 });
  const names = (await api.request('GET', MAPS)).json<{ items: { metadata: { name: string } }[] }>().items;
  for (const name of ['with-three', 'with-two', 'again'])
    assert.ok(
      names.some(({ metadata }) => metadata.name === name),
      name,
    );
});
