import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import {
  describeMember,
  forgetMembership,
  readMembership,
  refuseLostMember,
  refuseOneOfSeveral,
  refuseOtherName,
  writeMembership,
} from '../../../cli/etcd-member.ts';
import { refuseJoinedHome } from '../../../cli/join/joined.ts';
import { describeInstance, paths, type Instance } from '../../../lib/instance.ts';

function makeInstance(t: test.TestContext): Instance {
  const root = mkdtempSync(join(tmpdir(), 'windlass-member-'));
  t.after(() => rmSync(root, { recursive: true }));
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  mkdirSync(instance.home);
  return instance;
}
const membership = { secret: 's', caHash: 'sha256:00', servers: ['https://10.0.0.1:6443'], name: '10.0.0.2:6443' };
const members = ['10.0.0.1', '10.0.0.2'].map((host) => ({
  ...{ name: `${host}:6443`, url: `https://${host}:6443`, peerUrl: `https://${host}:2380`, role: 'Member' },
}));

test('describeMember() is called by the address of its API server, and listens where others may reach it', async (t) => {
  const instance = makeInstance(t);
  const shown = async (flags: { listen: string; advertise?: string }): Promise<string[]> => {
    const { name, peerUrl, peerListen, ports } = await describeMember(instance, flags);
    return [name, ...[peerUrl, peerListen].map((text) => text.replace(`:${ports.peer}`, ':PEER'))];
  };
  const loopback = ['127.0.0.1:7443', 'https://127.0.0.1:PEER', '127.0.0.1:PEER'];
  assert.deepEqual(await shown({ listen: '127.0.0.1:7443' }), loopback);
  assert.deepEqual(await shown({ listen: 'localhost:7443' }), loopback);
  assert.deepEqual(await shown({ listen: '0.0.0.0:6443', advertise: 'one.example' }), [
    ...['one.example:6443', 'https://one.example:PEER', '0.0.0.0:PEER'],
  ]);
  assert.deepEqual(await shown({ listen: '0.0.0.0:6443', advertise: '2001:db8::1' }), [
    ...['[2001:db8::1]:6443', 'https://[2001:db8::1]:PEER', '0.0.0.0:PEER'],
  ]);
});

test('a server whose store is gone, or that was cut off while it joined, is not started empty', (t) => {
  const instance = makeInstance(t);
  const file = join(instance.home, 'etcd-members.json');
  refuseLostMember(instance);
  writeFileSync(file, JSON.stringify({ servers: members.slice(0, 1) }));
  refuseLostMember(instance);
  refuseOneOfSeveral(instance);
  writeFileSync(file, JSON.stringify({ servers: members }));
  assert.throws(() => refuseLostMember(instance), {
    reason: 'Conflict',
    message: /is gone, and it was one of 2 servers \(10\.0\.0\.1:6443, 10\.0\.0\.2:6443\)/,
  });
  assert.throws(() => refuseOneOfSeveral(instance), {
    reason: 'Conflict',
    message: /stop them all, give --alone here/,
  });
  mkdirSync(paths.etcdData(instance));
  refuseLostMember(instance);
  rmSync(paths.etcdData(instance), { recursive: true });
  forgetMembership(instance);
  refuseLostMember(instance);
  writeMembership(instance, membership);
  assert.throws(() => refuseLostMember(instance), {
    reason: 'Conflict',
    message: /joining https:.* was cut off: finish it/,
  });
  mkdirSync(paths.etcdData(instance));
  assert.throws(() => refuseLostMember(instance), /was cut off/, 'the store of a member that was removed');
  writeMembership(instance, { ...membership, initialCluster: 'a=b' });
  refuseLostMember(instance);
});

test('a server that has joined starts under the name that the others know', async (t) => {
  const instance = makeInstance(t);
  writeMembership(instance, { ...membership, initialCluster: 'a=b' });
  const member = await describeMember(instance, { listen: '127.0.0.1:7443' });
  assert.throws(() => refuseOtherName(instance, member), {
    reason: 'Conflict',
    message: /has joined as 10\.0\.0\.2:6443, and would start as 127\.0\.0\.1:7443: give the --listen/,
  });
  refuseOtherName(instance, { ...member, name: membership.name });
});

test('a damaged file of a machine that has joined is an error, and not the same as none', (t) => {
  const instance = makeInstance(t);
  assert.equal(readMembership(instance), undefined);
  refuseJoinedHome(instance);
  for (const text of ['', '{"servers":[]}', '[1']) {
    writeFileSync(join(instance.home, 'server-joined.json'), text);
    assert.throws(() => readMembership(instance), { reason: 'Conflict', message: /server-joined\.json is damaged/ });
    writeFileSync(join(instance.home, 'joined.json'), text);
    assert.throws(() => refuseJoinedHome(instance), {
      reason: 'Conflict',
      message:
        /joined\.json is damaged: put it back from a copy, or remove that file and join again with a new --token/,
    });
  }
});
