import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPeerHealth, SILENT_AFTER, type PeerHealth } from '../../../../runtime-shim/network/peer-health.ts';

const probe = (health: PeerHealth, ip: string, times = SILENT_AFTER): void => {
  for (let count = 0; count < times; count += 1) health.noteProbe(ip);
};

test('a peer is silent after so many probes in a row, and counts again with one answer', () => {
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
  health.noteAnswer('a');
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
  probe(health, 'silent');
  assert.deepEqual(health.behind(7), ['a', 'b'], 'who never answered is not waited for');
  health.noteRevision('a', 7);
  health.noteRevision('a', 5);
  health.noteRevision('b', 6);
  assert.deepEqual(health.behind(7), ['b']);
  health.noteRevision('b', 8);
  assert.deepEqual(health.behind(7), []);
});
