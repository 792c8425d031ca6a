import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventHub } from '../../../../runtime-shim/store/events.ts';

async function collect<Event>(events: AsyncIterable<Event>): Promise<Event[]> {
  const seen: Event[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

test('subscribe() gives every reader all events in order, from the call on', async () => {
  const hub = createEventHub<number>();
  const stop = new AbortController();
  hub.publish(1);
  const readers = [hub.subscribe(stop.signal), hub.subscribe(stop.signal)].map((events) => collect(events));
  for (const event of [2, 3, 4]) hub.publish(event);
  stop.abort();
  assert.deepEqual(await Promise.all(readers), [
    [2, 3, 4],
    [2, 3, 4],
  ]);
});

test('a reader that stops reading is cut off and keeps nobody else waiting', async () => {
  const hub = createEventHub<number>({ maxBehind: 3 });
  const stop = new AbortController();
  const slow = hub.subscribe(stop.signal);
  const fast = hub.subscribe(stop.signal)[Symbol.asyncIterator]();
  for (let event = 0; event < 10; event += 1) {
    hub.publish(event);
    assert.deepEqual(await fast.next(), { value: event, done: false });
  }
  await assert.rejects(collect(slow), { reason: 'Expired' });
  stop.abort();
});
