// The server while its etcd is away: quick refusals, health that says so, and watches that go on afterwards.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestEtcd } from '../../support/etcd.ts';
import { waitFor } from '../../support/wait.ts';
import { openWatch } from '../../support/watch-stream.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

it('the API server waits for etcd at start and becomes ready by itself', async () => {
  await using etcd = await startTestEtcd({ start: false });
  await using api = await startTestApiserver({ etcd, dontWait: true });
  assert.equal((await api.request('GET', '/livez')).status, 200);
  assert.equal((await api.request('GET', '/readyz')).status, 500);
  const refused = await api.request('GET', MAPS);
  assert.equal(refused.status, 503);
  assert.equal(refused.json<{ reason: string }>().reason, 'ServiceUnavailable');
  assert.equal(refused.headers['retry-after'], '1');
  await etcd.start();
  await waitFor(async () => (await api.request('GET', '/readyz')).status === 200, { what: 'readiness' });
  await waitFor(async () => (await api.request('POST', MAPS, { body: { metadata: { name: 'a' } } })).status === 201);
});

it('the API server refuses quickly while etcd is dead and loses nothing', async () => {
  await using api = await startTestApiserver();
  const made = await api.request('POST', MAPS, { body: { metadata: { name: 'before' } } });
  const { resourceVersion } = made.json<{ metadata: { resourceVersion: string } }>().metadata;
  assert.equal((await api.request('GET', `${MAPS}/before`)).status, 200);
  const watch = await openWatch(api, `${MAPS}?watch=true&resourceVersion=${resourceVersion}`);
  await api.etcd.kill();
  const begin = performance.now();
  const answers = await Promise.all([
    api.request('GET', `${MAPS}/before`),
    api.request('GET', MAPS),
    api.request('POST', MAPS, { body: { metadata: { name: 'meanwhile' } } }),
    api.request('DELETE', `${MAPS}/before`),
    api.request('GET', '/readyz'),
  ]);
  assert.ok(performance.now() - begin < 7_000, 'nothing may hang');
  for (const answer of answers) assert.ok(answer.status >= 500 && answer.status < 505, answer.text);
  assert.equal((await api.request('GET', `${MAPS}/before?resourceVersion=0`)).status, 200);
  assert.equal((await api.request('GET', '/livez')).status, 200);
  await api.etcd.start();
  await waitFor(
    async () => (await api.request('POST', MAPS, { body: { metadata: { name: 'after' } } })).status === 201,
    { what: 'a write' },
  );
  const frames = await watch.until(1);
  assert.equal(frames.at(-1)?.object.metadata?.name, 'after');
  assert.equal(watch.ended, false);
  watch.close();
});
