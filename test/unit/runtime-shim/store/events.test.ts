import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectCri } from '../../../support/cri-server.ts';
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

test('a reader that stops reading over the socket is cut off too, while another gets everything', async (t) => {
  const hub = createEventHub<{ containerId: string }>();
  const client = await connectCri(t, {
    runtime: { getContainerEvents: (_request, { signal }) => hub.subscribe(signal) },
  });
  const open = async (): Promise<AsyncIterator<{ containerId: string }>> => {
    const events = client.runtime.getContainerEvents({})[Symbol.asyncIterator]();
    const first = events.next();
    // The first event that arrives shows that the stream is open.
    for (let isOpen = false; !isOpen;) {
      hub.publish({ containerId: 'probe' });
      const pause = new Promise<boolean>((resolve) => setImmediate(() => resolve(false)));
      isOpen = await Promise.race([first.then(() => true), pause]);
    }
    return events;
  };
  const [slow, fast] = [await open(), await open()];
  const payload = 'x'.repeat(10_000);
  for (let sent = 0; sent < 2_500; sent += 1) {
    hub.publish({ containerId: `${sent} ${payload}` });
    for (let seen = ''; seen !== String(sent);)
      seen = String((await fast.next()).value?.containerId).split(' ')[0] ?? '';
  }
  const readOn = async (): Promise<void> => {
    while ((await slow.next()).done !== true);
  };
  await assert.rejects(readOn(), { reason: 'Expired' });
  await fast.return?.();
});
