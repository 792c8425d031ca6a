// Who may do what: tokens, scopes and users of the cluster. Rows "auth confusion" and "credential leaks" of the list of
// bad inputs. The API server is played by a table of users: what it answers is a matter of its own tests.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { createClusterAccess } from '../../../registry/access/cluster-access.ts';
import type { Reviews } from '../../../registry/access/reviews.ts';
import { createTokenKey } from '../../../registry/access/token-key.ts';
import { answerTokenRequest } from '../../../registry/access/token-server.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { codeOf, startLiveRegistry, type LiveRegistry } from '../../support/live-registry.ts';

/** Secret to user, and what a user may do in which namespaces. */
const USERS: Readonly<Record<string, { name: string; groups: string[] }>> = {
  'secret-of-ann': { name: 'ann', groups: [] },
  'secret-of-bob': { name: 'bob', groups: [] },
};
const RIGHTS: Readonly<Record<string, Readonly<Record<string, string[]>>>> = {
  ann: { shop: ['get', 'update', 'delete'] },
  bob: { shop: ['get'], private: ['get', 'update'] },
};

const basic = (secret: string) => ({ authorization: `Basic ${Buffer.from(`anyone:${secret}`).toString('base64')}` });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function start(t: TestContext, anonymousPull = false) {
  const clock = createFakeClock();
  const asked = { identify: 0, isAllowed: 0 };
  const reviews: Reviews = {
    identify(secret) {
      asked.identify += 1;
      return Promise.resolve(USERS[secret]);
    },
    isAllowed({ name }, { verb, namespace }) {
      asked.isAllowed += 1;
      return Promise.resolve(RIGHTS[name]?.[namespace]?.includes(verb) ?? false);
    },
  };
  const tokens = createTokenKey(clock);
  const access = createClusterAccess({ reviews, tokens, clock }, { anonymousPull });
  const registry = await startLiveRegistry(t, {
    ...{ access, clock },
    answerToken: (request, query) => answerTokenRequest({ access, tokens, clock }, request, query),
  });
  return { registry, clock, asked };
}

async function tokenFor(registry: LiveRegistry, headers: Record<string, string>, ...scopes: string[]): Promise<string> {
  const query = new URLSearchParams(scopes.map((scope): [string, string] => ['scope', scope]));
  const { status, body } = await registry.send('GET', `/token?service=windlass&${query}`, { headers });
  assert.equal(status, 200, body.toString());
  return (JSON.parse(body.toString()) as { token: string }).token;
}

test('nobody is told where to get a token, and for what', async (t) => {
  const { registry } = await start(t);
  const ping = await registry.send('GET', '/v2/');
  assert.equal(ping.status, 401);
  assert.equal(ping.headers['www-authenticate'], `Bearer realm="http://${registry.host}/token",service="windlass"`);
  const push = await registry.send('POST', '/v2/shop/web/blobs/uploads/');
  assert.deepEqual([push.status, codeOf(push)], [401, 'UNAUTHORIZED']);
  assert.match(String(push.headers['www-authenticate']), /scope="repository:shop\/web:pull,push"$/);
});

test('a user pushes with its token, given as it is, as a password, or traded', async (t) => {
  const { registry } = await start(t);
  for (const headers of [
    bearer('secret-of-ann'),
    basic('secret-of-ann'),
    bearer(await tokenFor(registry, basic('secret-of-ann'), 'repository:shop/web:pull,push')),
  ]) {
    const { status } = await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers });
    assert.equal(status, 202);
  }
  const wrong = await registry.send('GET', '/v2/', { headers: basic('guess') });
  assert.deepEqual([wrong.status, codeOf(wrong)], [401, 'UNAUTHORIZED']);
  assert.equal((await registry.send('GET', '/token', { headers: basic('guess') })).status, 401);
});

test('a token is had by POST too: for a password, and again for the refresh token that came with it', async (t) => {
  const { registry } = await start(t);
  const post = async (form: Record<string, string>, headers: Record<string, string> = {}) => {
    const body = new URLSearchParams(form).toString();
    const type = { 'content-type': 'application/x-www-form-urlencoded', ...headers };
    const reply = await registry.send('POST', '/token', { headers: type, body });
    return { status: reply.status, body: JSON.parse(reply.body.toString()) as Record<string, string> };
  };
  const scope = 'repository:shop/web:pull,push repository:private/x:pull';
  const ann = { grant_type: 'password', username: 'ann', password: 'secret-of-ann', client_id: 'docker', scope };
  const first = await post({ ...ann, access_type: 'offline' });
  // Of what was asked for, what ann may do.
  assert.deepEqual([first.status, first.body['scope']], [200, 'repository:shop/web:pull,push']);
  const refresh = { grant_type: 'refresh_token', refresh_token: first.body['refresh_token'] ?? '', scope };
  for (const token of [first.body['access_token'], (await post(refresh)).body['access_token']]) {
    const headers = bearer(token ?? '');
    assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers })).status, 202);
    assert.equal((await registry.send('GET', '/v2/private/x/tags/list', { headers })).status, 401);
  }
  assert.equal((await post(ann)).body['refresh_token'], undefined);
  const statuses = [
    await post({ ...ann, password: 'guess' }),
    await post({ ...refresh, refresh_token: 'guess' }),
    await post({ ...ann, grant_type: 'authorization_code' }),
    await post({ grant_type: 'password' }),
    await post(ann, { 'content-type': 'application/json' }),
    await post({ ...ann, scope: 'x'.repeat(70_000) }),
  ].map(({ status }) => status);
  assert.deepEqual(statuses, [401, 401, 400, 400, 400, 413]);
});

test('auth confusion: a token is good for its repository and actions alone', async (t) => {
  const { registry } = await start(t);
  const pull = bearer(await tokenFor(registry, basic('secret-of-ann'), 'repository:shop/web:pull'));
  // Asked for more: 401 lets the client fetch a larger token.
  assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers: pull })).status, 401);
  assert.equal((await registry.send('GET', '/v2/shop/api/tags/list', { headers: pull })).status, 401);
  // What bob may not do, no scope gives him.
  for (const scope of ['repository:shop/web:pull,push,delete', 'repository:shop/web:*', 'repository:shop/web:push']) {
    const headers = bearer(await tokenFor(registry, basic('secret-of-bob'), scope));
    const { status, body } = await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers });
    assert.equal(status, 401, scope);
    assert.match(body.toString(), /"bob may not push shop\/web with this token"/);
  }
  const direct = await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers: basic('secret-of-bob') });
  assert.deepEqual([direct.status, codeOf(direct)], [403, 'DENIED']);
});

test('auth confusion: scopes with blanks, stars and other names give nothing', async (t) => {
  const { registry } = await start(t);
  for (const scope of [
    'repository:*:*',
    'repository:../shop:push',
    'repository:shop/web',
    'registry:catalog:*',
    'x'.repeat(5_000),
    '',
  ]) {
    const headers = bearer(await tokenFor(registry, basic('secret-of-bob'), scope));
    assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers })).status, 401, scope);
    assert.equal((await registry.send('GET', '/v2/', { headers })).status, 200);
  }
  const many = new URLSearchParams(
    Array.from({ length: 40 }, (_, n): [string, string] => ['scope', `repository:a${n}:pull`]),
  );
  assert.equal((await registry.send('GET', `/token?${many}`, { headers: basic('secret-of-ann') })).status, 400);
});

test('auth confusion: a token that was changed, made by others, or has run out is none', async (t) => {
  const { registry, clock } = await start(t);
  const token = await tokenFor(registry, basic('secret-of-ann'), 'repository:shop/web:pull,push');
  const [payload = '', signature = ''] = token.split('.');
  const grants = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
  const forged = Buffer.from(JSON.stringify({ ...grants, notAfter: 1e15 })).toString('base64url');
  const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url');
  for (const bad of [`${forged}.${signature}`, `${payload}.`, payload, `${none}.${payload}.`, `${token}.x`]) {
    const { status } = await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers: bearer(bad) });
    assert.equal(status, 401, bad.slice(0, 60));
  }
  assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers: bearer(token) })).status, 202);
  await clock.advance(301_000);
  assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/', { headers: bearer(token) })).status, 401);
});

test('auth confusion: a mount from a private repository tells nothing of what is there', async (t) => {
  const { registry } = await start(t);
  const bob = basic('secret-of-bob');
  const bytes = Buffer.from('of bob');
  const digest = digestOf(bytes);
  const pushed = await registry.send('POST', `/v2/private/x/blobs/uploads/?digest=${digest}`, {
    headers: bob,
    body: bytes,
  });
  assert.equal(pushed.status, 201);
  const ann = basic('secret-of-ann');
  for (const query of [
    `mount=${digest}&from=private/x`,
    `mount=${digest}`,
    `mount=${digestOf('other')}&from=private/x`,
  ]) {
    const { status, headers } = await registry.send('POST', `/v2/shop/web/blobs/uploads/?${query}`, { headers: ann });
    assert.deepEqual([status, /\/blobs\/uploads\//.test(String(headers.location))], [202, true], query);
  }
  const there = await registry.send('GET', `/v2/private/x/blobs/${digest}`, { headers: ann });
  const notThere = await registry.send('GET', `/v2/private/y/blobs/${digest}`, { headers: ann });
  assert.deepEqual([there.status, codeOf(there)], [notThere.status, codeOf(notThere)]);
  const catalog = await registry.send('GET', '/v2/_catalog', { headers: ann });
  assert.deepEqual(JSON.parse(catalog.body.toString()), { repositories: [] });
});

test('everybody may pull where that is allowed, and nobody push', async (t) => {
  const { registry } = await start(t, true);
  const ann = basic('secret-of-ann');
  const digest = digestOf('hello');
  await registry.send('POST', `/v2/shop/web/blobs/uploads/?digest=${digest}`, { headers: ann, body: 'hello' });
  assert.equal((await registry.send('GET', `/v2/shop/web/blobs/${digest}`)).body.toString(), 'hello');
  assert.equal((await registry.send('DELETE', `/v2/shop/web/blobs/${digest}`)).status, 401);
});

test('the API server is asked once for what was just asked', async (t) => {
  const { registry, asked, clock } = await start(t);
  const look = () => registry.send('GET', '/v2/shop/web/tags/list', { headers: basic('secret-of-ann') });
  await Promise.all(Array.from({ length: 20 }, look));
  assert.deepEqual(asked, { identify: 1, isAllowed: 1 });
  await clock.advance(11_000);
  await look();
  assert.deepEqual(asked, { identify: 2, isAllowed: 2 });
});

test('a Host header that is none does not end up in the challenge', async (t) => {
  const { registry } = await start(t);
  const { headers } = await registry.send('GET', '/v2/', { headers: { host: 'evil" ,realm="http://x' } });
  assert.equal(headers['www-authenticate'], `Bearer realm="http://127.0.0.1:0/token",service="windlass"`);
});
