import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { isListening } from '../../../../apiserver/servers/is-listening.ts';
import { createMembership } from '../../../../apiserver/servers/membership.ts';
import type { MemberClient } from '../../../../apiserver/storage/members.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

interface FakeMember {
  ID: string;
  name: string;
  peerURLs: string[];
  clientURLs: string[];
  isLearner: boolean;
}
const makeMember = (ID: string, name: string, isLearner = false): FakeMember => ({
  ...{ ID, name, peerURLs: [`https://10.0.0.${ID}:2380`], clientURLs: [], isLearner },
});

/** A server beside member 1 of an etcd with `members`, which learners catch up with at once, unless they are `behind`. */
function makeMembership(t: test.TestContext, members: FakeMember[], behind: ReadonlySet<string> = new Set()) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-members-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'etcd-members.json');
  const clock = createFakeClock(0);
  const remove = (ID: string): void =>
    void members.splice(
      members.findIndex((one) => one.ID === ID),
      1,
    );
  const client = {
    maintenance: { status: async () => ({ header: { member_id: '1' } }) },
    cluster: {
      memberList: async () => ({ members: structuredClone(members) }),
      memberAdd: async ({ peerURLs = [] }: { peerURLs?: string[] }) =>
        void members.push({ ...makeMember('9', '', true), peerURLs }),
      memberRemove: async ({ ID }: { ID: string }) => remove(ID),
      memberUpdate: async ({ ID, peerURLs }: FakeMember) =>
        void Object.assign(members.find((one) => one.ID === ID) ?? {}, { peerURLs }),
      memberPromote: async ({ ID }: { ID: string }) => {
        if (behind.has(ID))
          throw new Error('etcdserver: can only promote a learner member which is in sync with leader');
        Object.assign(members.find((one) => one.ID === ID) ?? {}, { isLearner: false });
      },
    },
  } as unknown as MemberClient;
  const log = silentLogger();
  const up = new Set<string>();
  const isListening = async (peerUrl: string): Promise<boolean> => up.has(peerUrl);
  const membership = createMembership({ client, clock, log, isListening }, { peerUrl: 'https://10.0.0.1:2380', file });
  const run = (): AbortController => {
    const stop = new AbortController();
    t.after(() => stop.abort());
    void membership.run(stop.signal);
    return stop;
  };
  return { membership, members, up, clock, file, run };
}
const one = (): FakeMember => makeMember('1', '10.0.0.1:6443');
const two = (): FakeMember => makeMember('2', '10.0.0.2:6443');

test('a learner gets its vote, and the own address is told, with the members kept in the file', async (t) => {
  const moved = { ...one(), peerURLs: ['https://127.0.0.1:20000'] };
  const { membership, clock, file, run } = makeMembership(t, [moved, { ...two(), isLearner: true }]);
  run();
  await clock.advance(1_000);
  const expected = {
    self: '10.0.0.1:6443',
    servers: [
      { name: '10.0.0.1:6443', url: 'https://10.0.0.1:6443', peerUrl: 'https://10.0.0.1:2380', role: 'Member' },
      { name: '10.0.0.2:6443', url: 'https://10.0.0.2:6443', peerUrl: 'https://10.0.0.2:2380', role: 'Member' },
    ],
  };
  assert.deepEqual(membership.list(), expected);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), expected);
});

test('one that was to join and never started is forgotten after five minutes', async (t) => {
  const { members, clock, run } = makeMembership(t, [one(), makeMember('2', '', true)]);
  run();
  await clock.advance(290_000);
  assert.equal(members.length, 2);
  await clock.advance(20_000);
  assert.deepEqual(
    members.map(({ ID }) => ID),
    ['1'],
  );
});

test('one that started, and died before it had caught up, is forgotten after five minutes without it', async (t) => {
  const { members, up, clock, run } = makeMembership(t, [one(), { ...two(), isLearner: true }], new Set(['2']));
  up.add('https://10.0.0.2:2380');
  run();
  await clock.advance(600_000);
  assert.equal(members.length, 2, 'it is there, and has much to catch up with');
  up.clear();
  await clock.advance(200_000);
  up.add('https://10.0.0.2:2380');
  await clock.advance(10_000);
  up.clear();
  await clock.advance(290_000);
  assert.equal(members.length, 2, 'it was heard meanwhile');
  await clock.advance(20_000);
  assert.deepEqual(
    members.map(({ ID }) => ID),
    ['1'],
  );
});

test('admit() gives who asks again the same place, and takes that of one that lost its data', async (t) => {
  const { membership, members } = makeMembership(t, [one(), two()]);
  const wanted = '10.0.0.1:6443=https://10.0.0.1:2380,10.0.0.2:6443=https://10.0.0.2:2380';
  assert.equal(await membership.admit('10.0.0.2:6443', 'https://10.0.0.2:2380'), wanted);
  assert.deepEqual(
    members.map(({ ID, isLearner }) => [ID, isLearner]),
    [
      ['1', false],
      ['9', true],
    ],
  );
  const [, before] = members;
  assert.equal(await membership.admit('10.0.0.2:6443', 'https://10.0.0.2:2380'), wanted);
  assert.equal(members.length, 2);
  assert.notEqual(members[1], before, 'what it has told the others before it was cut off is lost with its data');
  await assert.rejects(membership.admit('10.0.0.1:6443', 'https://10.0.0.3:2380'), {
    reason: 'Conflict',
    message:
      /the server 10\.0\.0\.1:6443 is a member of the cluster already, with its etcd at https:\/\/10\.0\.0\.1:2380/,
  });
});

test('admit() replaces no member that is up, and not the one that is asked', async (t) => {
  const { membership, members, up } = makeMembership(t, [one(), two()]);
  up.add('https://10.0.0.2:2380');
  await assert.rejects(membership.admit('10.0.0.2:6443', 'https://10.0.0.2:2380'), {
    reason: 'Conflict',
    message: /is the etcd of the server 10\.0\.0\.2:6443, which is up: start that one without --join/,
  });
  await assert.rejects(membership.admit('10.0.0.4:6443', 'https://10.0.0.1:2380'), {
    reason: 'Conflict',
    message: /is the etcd of 10\.0\.0\.1:6443, the server that was asked/,
  });
  assert.deepEqual(
    members.map(({ ID }) => ID),
    ['1', '2'],
  );
});

test('admit() names the one that is joining, which may have died, and changes nothing', async (t) => {
  const { membership, members } = makeMembership(t, [one(), two(), { ...makeMember('3', 'c:6443'), isLearner: true }]);
  await assert.rejects(membership.admit('10.0.0.2:6443', 'https://10.0.0.2:2380'), {
    reason: 'Unavailable',
    message: /the server c:6443 is joining at this moment: .*windlass server remove c:6443$/,
  });
  assert.equal(members.length, 3);
  await membership.remove('c:6443');
  await membership.admit('10.0.0.2:6443', 'https://10.0.0.2:2380');
});

test('isListening() is true of a port that somebody listens at', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.equal(await isListening(url), true);
  server.close();
  await once(server, 'close');
  assert.equal(await isListening(url), false);
});

test('remove() knows a server by its name, and keeps the last one', async (t) => {
  const { membership, members } = makeMembership(t, [one(), two()]);
  await assert.rejects(membership.remove('three:1'), {
    reason: 'NotFound',
    message: /there are 10\.0\.0\.1:6443, 10\.0\.0\.2:6443/,
  });
  await membership.remove('10.0.0.2:6443');
  assert.equal(members.length, 1);
  await assert.rejects(membership.remove('10.0.0.1:6443'), { reason: 'Conflict', message: /is the only server/ });
});

test('the file keeps the members as they were before this one was removed', async (t) => {
  const { membership, members, clock, file, run } = makeMembership(t, [one(), two()]);
  run();
  await clock.advance(1_000);
  const before = readFileSync(file, 'utf8');
  assert.match(before, /10\.0\.0\.1:6443.*10\.0\.0\.2:6443/);
  await membership.remove('10.0.0.1:6443');
  assert.equal(members.length, 1);
  await clock.advance(60_000);
  assert.equal(readFileSync(file, 'utf8'), before);
});
