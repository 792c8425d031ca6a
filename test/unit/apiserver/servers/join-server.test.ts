import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import { joinServer, type JoinServerDeps } from '../../../../apiserver/servers/join-server.ts';
import type { Change, Entry } from '../../../../apiserver/storage/resource-store.ts';
import { silentLogger } from '../../../../lib/log.ts';

const FILES = ['ca.crt', 'ca.key', 'etcd-ca.crt', 'etcd-ca.key', 'sa.pub', 'sa.key'];
const machine = (digit: string): string => digit.repeat(64);
const requestOf = (more: object = {}): object => ({
  ...{ name: '10.0.0.2:6443', peerUrl: 'https://10.0.0.2:2380', machine: machine('a'), ...more },
});

/** An API server with one token that is for one machine. */
function makeServer(t: test.TestContext) {
  const pki = mkdtempSync(join(tmpdir(), 'windlass-keys-'));
  t.after(() => rmSync(pki, { recursive: true }));
  for (const file of FILES) writeFileSync(join(pki, file), file);
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  let secret = {
    metadata: { name: 'bootstrap-token-abcdef' },
    data: { 'token-id': encode('abcdef'), uses: encode('1') },
  } as unknown as StoredObject;
  const admitted: string[] = [];
  const deps: JoinServerDeps = {
    ...{ pki, peerUrl: 'https://10.0.0.1:2380', log: silentLogger() },
    store: {
      async guaranteedUpdate(_collection, _namespace, _name, change) {
        const entry = { object: secret, clone: () => structuredClone(secret) } as unknown as Entry;
        const decided: Change = change(entry);
        if (decided.kind === 'put') secret = decided.object;
        return { kind: decided.kind, entry };
      },
    },
    membership: {
      async admit(name) {
        admitted.push(name);
        return 'all of them';
      },
    },
  };
  const ask = (request: unknown, user: { name?: string; groups?: string[] } = {}) => {
    const { name = 'system:bootstrap:abcdef', groups = ['system:bootstrappers:windlass:server'] } = user;
    return joinServer(deps, { name, groups }, Buffer.from(JSON.stringify(request)));
  };
  return { ask, admitted };
}

test('joinServer() hands the keys over, to one machine as often as it asks, and to no second one', async (t) => {
  const { ask, admitted } = makeServer(t);
  const answer = await ask(requestOf());
  assert.deepEqual(answer, {
    authority: { cert: 'ca.crt', key: 'ca.key' },
    etcdAuthority: { cert: 'etcd-ca.crt', key: 'etcd-ca.key' },
    serviceAccount: { publicKey: 'sa.pub', key: 'sa.key' },
    initialCluster: 'all of them',
  });
  assert.deepEqual(await ask(requestOf()), answer);
  await assert.rejects(ask(requestOf({ machine: machine('b') })), {
    reason: 'Forbidden',
    message: 'the token abcdef is used up: it was for 1, and was used by 10.0.0.2:6443',
  });
  assert.equal(admitted.length, 2);
});

test('joinServer() tells nothing to anybody else, an administrator included', async (t) => {
  const { ask, admitted } = makeServer(t);
  await assert.rejects(ask(requestOf(), { groups: ['system:bootstrappers:windlass:node'] }), {
    reason: 'Forbidden',
    message: /the token abcdef is not for servers: make one with windlass token create --role server/,
  });
  for (const name of ['admin', 'system:node:n1']) {
    const groups = ['system:masters', 'system:nodes', 'system:bootstrappers:windlass:server'];
    await assert.rejects(ask(requestOf(), { name, groups }), {
      reason: 'Forbidden',
      message: /takes a token of role server/,
    });
  }
  assert.deepEqual(admitted, []);
});

test('joinServer() names what is wrong with a request, which costs nothing', async (t) => {
  const { ask, admitted } = makeServer(t);
  const refused = (request: unknown, message: RegExp): Promise<void> =>
    assert.rejects(ask(request), { reason: 'BadRequest', message });
  await refused(requestOf({ name: 'two' }), /invalid name: want host:port/);
  await refused(requestOf({ name: 'a=b,c:1' }), /invalid name: want host:port/);
  await refused(requestOf({ peerUrl: 'http://10.0.0.2:2380' }), /invalid peerUrl: want https:\/\/host:port/);
  await refused(requestOf({ machine: 'x' }), /invalid machine: want 64 hex digits/);
  await refused(requestOf({ more: 1 }), /invalid request/);
  await refused(
    requestOf({ peerUrl: 'https://127.0.0.1:2380' }),
    /the other servers cannot reach https:\/\/127\.0\.0\.1:2380/,
  );
  await ask(requestOf());
  assert.equal(admitted.length, 1);
});
