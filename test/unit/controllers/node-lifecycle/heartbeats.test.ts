import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../../../client/client.ts';
import { createHeartbeats } from '../../../../controllers/node-lifecycle/heartbeats.ts';
import type { Cache } from '../../../../controllers/runtime/cache.ts';
import type { Lease } from '../../../../crds/builtin.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

test('seenAt() does not count the time in which the server did not answer', async () => {
  const clock = createFakeClock(0);
  let status = 200;
  let renew: (renewTime: string) => void = () => undefined;
  const leases = {
    subscribe(handler: (change: { object: Lease; previous: Lease | undefined; deleted: boolean }) => void) {
      renew = (renewTime) => {
        const object: Lease = { apiVersion: 'v1', kind: 'Lease', metadata: { name: 'a' }, spec: { renewTime } };
        handler({ object, previous: undefined, deleted: false });
      };
      return () => undefined;
    },
  } as unknown as Cache<Lease>;
  const client = { raw: async () => ({ status, body: '' }) } as unknown as ApiClient;
  const heartbeats = createHeartbeats({ client, leases, clock, minGraceMs: 0 });
  const stop = new AbortController();
  const running = heartbeats.run(stop.signal);
  renew('1');
  await clock.advance(5_000);
  assert.equal(heartbeats.seenAt('a'), 0);
  status = 503;
  await clock.advance(60_000);
  assert.equal(clock.now() - heartbeats.seenAt('a'), 0);
  status = 200;
  await clock.advance(10_000);
  const silentMs = clock.now() - heartbeats.seenAt('a');
  assert.ok(silentMs >= 8_000 && silentMs <= 10_000, `${silentMs} ms`);
  renew('2');
  assert.equal(heartbeats.seenAt('a'), clock.now());
  stop.abort();
  await running;
});

test('graceMsOf() is what the Lease says, within reason, and never less than the least', async () => {
  const renewals: ((change: { object: Lease; previous: undefined; deleted: boolean }) => void)[] = [];
  const leases = {
    subscribe: (handler: (typeof renewals)[number]) => renewals.push(handler),
  } as unknown as Cache<Lease>;
  const make = (minGraceMs: number) =>
    createHeartbeats({ client: {} as ApiClient, leases, clock: createFakeClock(0), minGraceMs });
  const [heartbeats, patient] = [make(0), make(60_000)];
  const graceOf = (leaseDurationSeconds: number): number[] => {
    const object: Lease = { apiVersion: 'v1', kind: 'Lease', metadata: { name: 'a' }, spec: { leaseDurationSeconds } };
    for (const renew of renewals) renew({ object, previous: undefined, deleted: false });
    return [heartbeats.graceMsOf('a'), patient.graceMsOf('a')];
  };
  assert.deepEqual(graceOf(5), [5_000, 60_000]);
  assert.deepEqual(graceOf(90), [90_000, 90_000]);
  assert.deepEqual([graceOf(-1)[0], graceOf(1e9)[0]], [2_000, 600_000]);
  assert.equal(heartbeats.graceMsOf('never heard of'), 40_000);
});
