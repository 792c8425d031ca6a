import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLeaseRenewer } from '../../../client/lease.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { silentLogger } from '../../../lib/log.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createMemoryClient } from './memory-client.ts';

/** A renewer of a Lease of 40 s that notes when it has been regained. */
async function start() {
  const client = createMemoryClient();
  const clock = createFakeClock();
  const stop = new AbortController();
  const regained: number[] = [];
  const lease = { namespace: 'ns', name: 'node', holderIdentity: 'node', leaseDurationSeconds: 40 };
  const renewer = createLeaseRenewer({ client, clock, log: silentLogger() }, lease, (at) => regained.push(at));
  const running = renewer.run(stop.signal);
  await clock.advance(0);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return { client, clock, regained, end };
}

const away = (): Error => new WindlassError('Unavailable', 'away');

test('a renewer says nothing of a server that only answers late', async () => {
  const { client, clock, regained, end } = await start();
  client.failure = away();
  await clock.advance(20_000);
  client.failure = undefined;
  await clock.advance(20_000);
  assert.deepEqual(regained, []);
  await end();
});

test('a renewer says that its Lease may have run out for others before it was renewed', async () => {
  const { client, clock, regained, end } = await start();
  const startedAt = clock.now();
  client.failure = away();
  await clock.advance(60_000);
  client.failure = undefined;
  await clock.advance(20_000);
  assert.equal(regained.length, 1);
  assert.ok((regained[0] as number) > startedAt + 40_000);
  await clock.advance(60_000);
  assert.equal(regained.length, 1);
  await end();
});

test('a renewer says that another server answers than before', async () => {
  const { client, clock, regained, end } = await start();
  client.failure = away();
  await clock.advance(12_000);
  client.failure = undefined;
  client.server = 'another';
  await clock.advance(10_000);
  assert.equal(regained.length, 1);
  await end();
});
