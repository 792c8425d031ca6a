import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { joinServers } from '../../../../cli/join/join-server.ts';
import { lacks } from '../../../../cli/join/was-removed.ts';
import { describeMember, writeMembership } from '../../../../cli/etcd-member.ts';
import { serverOptions } from '../../../../cli/options.ts';
import { createOutput } from '../../../../cli/output.ts';
import { describeInstance, paths } from '../../../../lib/instance.ts';

const TOKEN = 'abcdef.0123456789abcdef';

/** A server with a store that has joined as 127.0.0.2:6443, and another one that answers with `listed` and nothing else. */
async function makeServer(t: test.TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'windlass-join-'));
  t.after(() => rmSync(root, { recursive: true }));
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  mkdirSync(paths.etcdData(instance), { recursive: true });
  const listed: { name: string; peerUrl: string; role: 'Member' | 'Joining' }[] = [];
  const other = createServer((request, response) => {
    response.statusCode = request.url === '/servers' ? 200 : 503;
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ servers: listed }));
  }).listen(0, '127.0.0.1');
  t.after(() => other.close());
  await once(other, 'listening');
  const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  const caHash = `sha256:${'0'.repeat(64)}`;
  writeMembership(instance, { secret: 's', caHash, servers: [url], name: '127.0.0.2:6443', initialCluster: 'a=b' });
  writeFileSync(
    paths.adminKubeconfig(instance),
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: url } }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  let said = '';
  const stream = { write: (text: string) => void (said += text) } as unknown as NodeJS.WriteStream;
  const output = createOutput({ stdout: stream, stderr: stream, env: {} });
  const joinAt = async (listen: string): Promise<string> => {
    said = '';
    const flags = { ...serverOptions.parse({ listen, token: TOKEN }), join: ['https://127.0.0.1:1'] };
    await joinServers(instance, flags, { output, signal: new AbortController().signal });
    return said;
  };
  return { instance, listed, joinAt };
}

const other = { name: '127.0.0.1:6443', peerUrl: 'https://127.0.0.1:2380', role: 'Member' } as const;

test('--join leaves the store of a server that the others know by another name alone', async (t) => {
  const { instance, listed, joinAt } = await makeServer(t);
  const { peerUrl } = await describeMember(instance, { listen: '127.0.0.1:7443' });
  const known = [
    { name: '127.0.0.1:7443', peerUrl: 'https://127.0.0.9:2380', role: 'Member' },
    { name: new URL(peerUrl).host, peerUrl, role: 'Joining' },
  ] as const;
  for (const self of known) {
    listed.splice(0, listed.length, other, self);
    assert.match(await joinAt('127.0.0.1:7443'), /^already a server of .*: the token was not used/);
  }
  const moved = { name: '127.0.0.3:6443', peerUrl: 'https://127.0.0.3:2380', role: 'Member' } as const;
  listed.splice(0, listed.length, other, moved);
  writeFileSync(join(instance.home, 'etcd-members.json'), JSON.stringify({ servers: listed, self: moved.name }));
  assert.match(await joinAt('127.0.0.1:7443'), /^already a server of/);
  assert.ok(existsSync(paths.etcdData(instance)));
});

test('--join of a server that was removed keeps its store until it is let in', async (t) => {
  const { instance, listed, joinAt } = await makeServer(t);
  listed.push(other);
  await assert.rejects(joinAt('127.0.0.1:7443'), { reason: 'Unavailable' });
  assert.deepEqual(
    readdirSync(instance.home).filter((name) => name.includes('.before-')),
    [],
  );
  assert.ok(existsSync(paths.etcdData(instance)));
});

test('lacks() is not true of a list without any server', () => {
  const self = { names: ['a:1'], peerUrls: ['https://a:2'] };
  assert.equal(lacks({ servers: [] }, self), false);
  assert.equal(lacks({ servers: [other] }, self), true);
});
