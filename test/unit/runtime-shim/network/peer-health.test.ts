import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BACK_AFTER,
  createPeerHealth,
  SILENT_AFTER,
  type PeerHealth,
} from '../../../../runtime-shim/network/peer-health.ts';

const probe = (health: PeerHealth, ip: string, times = SILENT_AFTER): void => {
  for (let count = 0; count < times; count += 1) health.noteProbe(ip);
};

test('a peer is silent after so many probes in a row, and counts again after several answers in a row', () => {
  const health = createPeerHealth();
  health.setPeers(['a', 'b']);
  for (const ip of ['a', 'b']) {
    health.noteProbe(ip);
    health.noteAnswer(ip);
  }
  probe(health, 'a', SILENT_AFTER - 1);
  assert.deepEqual([...health.silent()], []);
  health.noteAnswer('a');
  probe(health, 'a', SILENT_AFTER - 1);
  assert.deepEqual([...health.silent()], [], 'not in a row');
  probe(health, 'a', 1);
  assert.deepEqual([...health.silent()], ['a']);
  assert.deepEqual(health.counts(), { answering: 1, silent: 1, unknown: 0 });
  const answer = (times: number): void => {
    for (let count = 0; count < times; count += 1) {
      health.noteProbe('a');
      health.noteAnswer('a');
    }
  };
  for (let count = 0; count < BACK_AFTER; count += 1) health.noteAnswer('a');
  assert.deepEqual([...health.silent()], ['a'], 'late answers are one');
  probe(health, 'a', 2);
  answer(BACK_AFTER - 1);
  probe(health, 'a', 2);
  answer(BACK_AFTER - 1);
  assert.deepEqual([...health.silent()], ['a'], 'not in a row');
  answer(1);
  assert.deepEqual([...health.silent()], []);
  probe(health, 'a', SILENT_AFTER - 1);
  assert.deepEqual([...health.silent()], []);
});

test('a peer that never answered is not silent: it may not answer such questions at all', () => {
  const health = createPeerHealth();
  health.setPeers(['a']);
  probe(health, 'a', SILENT_AFTER * 10);
  assert.deepEqual([...health.silent()], []);
  assert.deepEqual(health.counts(), { answering: 0, silent: 0, unknown: 1 });
});

test('setPeers() keeps what is known of those that stay, and forgets those that go', () => {
  const health = createPeerHealth();
  health.setPeers(['a', 'b']);
  for (const ip of ['a', 'b']) health.noteAnswer(ip);
  probe(health, 'a');
  health.setPeers(['a', 'c']);
  assert.deepEqual([...health.silent()], ['a']);
  health.setPeers(['c']);
  health.setPeers(['a', 'c']);
  assert.deepEqual([...health.silent()], []);
  health.noteAnswer('stranger');
  health.noteProbe('stranger');
  assert.deepEqual(health.peers(), ['c', 'a']);
});

test('behind() names those that answer and have not come so far', () => {
  const health = createPeerHealth();
  health.setPeers(['a', 'b', 'c', 'silent']);
  for (const ip of ['a', 'b', 'silent']) health.noteAnswer(ip);
  for (const ip of health.peers()) health.noteRevision(ip, 1, 0);
  probe(health, 'silent');
  const behind = (): readonly string[] => health.behind(7, 0);
  assert.deepEqual(behind(), ['a', 'b'], 'who never answered is not waited for');
  health.noteRevision('a', 7, 0);
  health.noteRevision('a', 5, 0);
  health.noteRevision('b', 6, 0);
  assert.deepEqual(behind(), ['b']);
  health.noteRevision('b', 8, 0);
  assert.deepEqual(behind(), []);
});

test('behind() leaves out those that answer and send no probes any more', () => {
  const health = createPeerHealth();
  health.setPeers(['a', 'never']);
  for (const ip of ['a', 'never']) health.noteAnswer(ip);
  health.noteRevision('a', 6, 1000);
  assert.deepEqual(health.behind(7, 1000), ['a']);
  assert.deepEqual(health.behind(7, 1001), []);
  health.noteRevision('a', 6, 1500);
  assert.deepEqual(health.behind(7, 1001), ['a']);
});
