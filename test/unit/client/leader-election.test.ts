import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runAsLeader } from '../../../client/leader-election.ts';
import type { Lease } from '../../../crds/builtin.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { silentLogger } from '../../../lib/log.ts';
import { createFakeClock, type FakeClock } from '../../support/fake-clock.ts';
import { createMemoryClient, type MemoryClient } from './memory-client.ts';

const KEY = 'leases/ns/lead';

/** A candidate that notes what happens to it. */
function start(client: MemoryClient, clock: FakeClock, identity: string) {
  const notes: string[] = [];
  const stop = new AbortController();
  const options = { client, clock, log: silentLogger(), namespace: 'ns', name: 'lead', identity };
  const running = runAsLeader(
    options,
    async (signal) => {
      notes.push('leads');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      notes.push('stops');
    },
    stop.signal,
  ).catch((error: Error) => notes.push(error.message));
  return { notes, stop: () => stop.abort(), running };
}

const lease = (client: MemoryClient): Lease | undefined => client.objects.get(KEY) as Lease | undefined;

test('runAsLeader() takes a Lease that nobody holds and gives it back at the end', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const only = start(client, clock, 'a');
  await clock.advance(0);
  assert.deepEqual(only.notes, ['leads']);
  assert.equal(lease(client)?.spec?.holderIdentity, 'a');
  only.stop();
  await only.running;
  assert.deepEqual(only.notes, ['leads', 'stops']);
  assert.equal(lease(client)?.spec?.holderIdentity, '');
});

test('a candidate waits as long as the leader renews, and takes over when it has been silent for the duration', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const first = start(client, clock, 'a');
  await clock.advance(0);
  const second = start(client, clock, 'b');
  await clock.advance(60_000);
  assert.deepEqual(second.notes, []);
  // The first dies without a word: its renewals no longer arrive.
  const frozen = lease(client);
  first.stop();
  await first.running;
  if (frozen) client.objects.set(KEY, frozen);
  await clock.advance(14_000);
  assert.deepEqual(second.notes, []);
  await clock.advance(4_000);
  assert.deepEqual(second.notes, ['leads']);
  assert.equal(lease(client)?.spec?.leaseTransitions, 1);
  second.stop();
  await second.running;
});

test('a leader that cannot renew stops before another may start, and says so', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const only = start(client, clock, 'a');
  await clock.advance(0);
  client.failure = new WindlassError('Unavailable', 'down');
  await clock.advance(8_000);
  assert.deepEqual(only.notes, ['leads']);
  await clock.advance(6_000);
  await only.running;
  assert.deepEqual(only.notes, ['leads', 'stops', 'lost the lead of lease lead']);
});

test('a leader whose server was away for less than the deadline goes on', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const only = start(client, clock, 'a');
  await clock.advance(0);
  client.failure = new WindlassError('Unavailable', 'down');
  await clock.advance(6_000);
  client.failure = undefined;
  await clock.advance(60_000);
  assert.deepEqual(only.notes, ['leads']);
  only.stop();
  await only.running;
});

test('a leader whose Lease another took stops at once', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const only = start(client, clock, 'a');
  await clock.advance(0);
  const taken = lease(client) as Lease;
  const metadata = { ...taken.metadata, resourceVersion: 'taken' };
  client.objects.set(KEY, { ...taken, metadata, spec: { ...taken.spec, holderIdentity: 'thief' } } as Lease);
  await clock.advance(2_000);
  await only.running;
  assert.deepEqual(only.notes, ['leads', 'stops', 'lost the lead of lease lead']);
  assert.equal(lease(client)?.spec?.holderIdentity, 'thief');
});

test('a candidate that is stopped while it waits resolves without leading', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  client.failure = new WindlassError('Unavailable', 'down');
  const only = start(client, clock, 'a');
  await clock.advance(10_000);
  only.stop();
  await only.running;
  assert.deepEqual(only.notes, []);
});

test('a leader renews with one request, and looks again when somebody else wrote', async () => {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const only = start(client, clock, 'a');
  await clock.advance(0);
  client.calls.length = 0;
  await clock.advance(2_000);
  assert.deepEqual(client.calls, [`update ${KEY}`]);
  const written = lease(client) as Lease;
  client.objects.set(KEY, { ...written, metadata: { ...written.metadata, resourceVersion: 'other' } });
  client.calls.length = 0;
  await clock.advance(2_000);
  assert.deepEqual(client.calls, [`update ${KEY}`, `get ${KEY}`, `update ${KEY}`]);
  only.stop();
  await only.running;
});
