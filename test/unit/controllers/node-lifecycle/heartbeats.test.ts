import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../../../client/client.ts';
import { createHeartbeats } from '../../../../controllers/node-lifecycle/heartbeats.ts';
import type { Cache } from '../../../../controllers/runtime/cache.ts';
import type { Lease, Node } from '../../../../crds/builtin.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const none = { subscribe: () => () => undefined } as unknown as Cache<Node>;

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
  const heartbeats = createHeartbeats({ client, leases, nodes: none, clock, minGraceMs: 0 });
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
    createHeartbeats({ client: {} as ApiClient, leases, nodes: none, clock: createFakeClock(0), minGraceMs });
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

test('what is known of a node goes with its Lease, or with itself', () => {
  type Handler = (change: { object: object; previous: undefined; deleted: boolean }) => void;
  const told: Record<'leases' | 'nodes', Handler> = { leases: () => undefined, nodes: () => undefined };
  const cacheOf = (name: keyof typeof told): unknown => ({ subscribe: (handler: Handler) => (told[name] = handler) });
  const heartbeats = createHeartbeats({
    client: {} as ApiClient,
    leases: cacheOf('leases') as Cache<Lease>,
    nodes: cacheOf('nodes') as Cache<Node>,
    clock: createFakeClock(0),
    minGraceMs: 0,
  });
  const object = { metadata: { name: 'a' }, spec: { leaseDurationSeconds: 5, renewTime: '1' } };
  const hear = (): void => told.leases({ object, previous: undefined, deleted: false });
  for (const gone of ['leases', 'nodes'] as const) {
    hear();
    assert.equal(heartbeats.graceMsOf('a'), 5_000);
    told[gone]({ object, previous: undefined, deleted: true });
    assert.equal(heartbeats.graceMsOf('a'), 40_000, gone);
  }
});
