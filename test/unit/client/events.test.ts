import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventRecorder } from '../../../client/events.ts';
import { nodeKind, type Event } from '../../../crds/builtin.ts';
import { volumeKind } from '../../../crds/index.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { silentLogger } from '../../../lib/log.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createMemoryClient } from './memory-client.ts';

function setUp() {
  const client = createMemoryClient();
  const clock = createFakeClock(Date.UTC(2026, 0, 1));
  const recorder = createEventRecorder({
    client,
    clock,
    component: 'windlass-test',
    host: 'node-1',
    log: silentLogger(),
  });
  const events = (): Event[] => [...client.objects.values()] as Event[];
  return { client, clock, recorder, events };
}

const volume = { kind: volumeKind, metadata: { name: 'site', namespace: 'shop', uid: 'u-1', resourceVersion: '5' } };

test('record() writes an Event beside its object, with source and times', async () => {
  const { recorder, events } = setUp();
  recorder.record(volume, 'Warning', 'Lost', 'node a is gone');
  await recorder.flush();
  const [event] = events();
  assert.match(event?.metadata.name ?? '', /^site\.[0-9a-f]{16}$/);
  const { metadata, ...rest } = event ?? { metadata: { name: '' } };
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    involvedObject: {
      apiVersion: 'windlass.dev/v1',
      kind: 'Volume',
      name: 'site',
      namespace: 'shop',
      uid: 'u-1',
      resourceVersion: '5',
    },
    type: 'Warning',
    reason: 'Lost',
    message: 'node a is gone',
    source: { component: 'windlass-test', host: 'node-1' },
    reportingComponent: 'windlass-test',
    reportingInstance: 'node-1',
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 1,
  });
  assert.equal(metadata.namespace, 'shop');
});

test('an object in no namespace has its Events in default', async () => {
  const { recorder, events } = setUp();
  recorder.record({ kind: nodeKind, metadata: { name: 'a' } }, 'Normal', 'Ready', 'node is ready');
  await recorder.flush();
  assert.equal(events()[0]?.metadata.namespace, 'default');
  assert.equal(events()[0]?.involvedObject.namespace, undefined);
});

test('the same event raises the count; one that was dropped by the server is written anew', async () => {
  const { client, clock, recorder, events } = setUp();
  for (let times = 0; times < 3; times += 1) {
    recorder.record(volume, 'Normal', 'Bound', 'on node a');
    await clock.advance(1000);
  }
  await recorder.flush();
  assert.deepEqual(
    events().map(({ count, lastTimestamp }) => ({ count, lastTimestamp })),
    [{ count: 3, lastTimestamp: '2026-01-01T00:00:02Z' }],
  );
  client.objects.clear();
  recorder.record(volume, 'Normal', 'Bound', 'on node a');
  await recorder.flush();
  assert.deepEqual(
    events().map(({ count }) => count),
    [1],
  );
});

test('many messages of one reason become one Event that says so', async () => {
  const { recorder, events } = setUp();
  for (let index = 0; index < 14; index += 1) recorder.record(volume, 'Normal', 'Tick', `tick ${index}`);
  await recorder.flush();
  assert.equal(events().length, 11);
  const last = events().at(-1);
  assert.equal(last?.message, '(combined from similar events): tick 13');
  assert.equal(last?.count, 4);
});

test('an object that causes a flood is cut short, others are not', async () => {
  const { clock, recorder, events } = setUp();
  for (let index = 0; index < 200; index += 1) recorder.record(volume, 'Normal', `Reason${index}`, 'x');
  recorder.record({ kind: nodeKind, metadata: { name: 'a' } }, 'Normal', 'Ready', 'x');
  await recorder.flush();
  assert.equal(events().length, 26);
  await clock.advance(300_000);
  recorder.record(volume, 'Normal', 'Later', 'x');
  recorder.record(volume, 'Normal', 'MuchLater', 'x');
  await recorder.flush();
  assert.equal(events().length, 27);
});

test('a server that refuses or is away costs the Event and nothing else', async () => {
  const { client, recorder, events } = setUp();
  client.failure = new WindlassError('Unavailable', 'down');
  recorder.record(volume, 'Normal', 'Bound', 'x');
  await recorder.flush();
  client.failure = undefined;
  recorder.record(volume, 'Normal', 'Bound', 'x');
  await recorder.flush();
  assert.equal(events().length, 1);
});

test('a message longer than the server takes is cut', async () => {
  const { recorder, events } = setUp();
  recorder.record(volume, 'Normal', 'Long', 'x'.repeat(5000));
  await recorder.flush();
  assert.equal(events()[0]?.message?.length, 1024);
});

test('nothing is written before a burst is through, nor more than five seconds after it happened', async () => {
  const { clock, recorder, events } = setUp();
  for (let index = 0; index < 60; index += 1) {
    recorder.record({ ...volume, metadata: { name: `v-${index}`, uid: `u-${index}` } }, 'Normal', 'Bound', 'on node a');
    await clock.advance(100);
    if (index === 40) assert.equal(events().length, 0);
  }
  assert.ok(events().length > 0 && events().length < 60, `${events().length} of 60`);
  await clock.advance(200);
  assert.equal(events().length, 60);
});

test('a clock that is set back keeps no Event from being written', async () => {
  const { client, clock, events } = setUp();
  let offsetMs = 0;
  const unsteady = { ...clock, now: () => clock.now() + offsetMs };
  const recorder = createEventRecorder({ client, clock: unsteady, component: 'c', log: silentLogger() });
  recorder.record(volume, 'Warning', 'Lost', 'node a is gone');
  offsetMs = -3_600_000;
  await clock.advance(200);
  assert.equal(events().length, 1);
});
