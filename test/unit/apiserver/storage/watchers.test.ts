import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEntry, encodeObject } from '../../../../apiserver/storage/entry.ts';
import type { Entry, EventIndex, StoreEvent } from '../../../../apiserver/storage/resource-store.ts';
import { createWatchers, type Watcher } from '../../../../apiserver/storage/watchers.ts';

const on = (node: string, revision: number): Entry =>
  createEntry('d', 'x', revision, encodeObject({ apiVersion: 'v1', kind: 'A', metadata: { name: 'x' }, node }));
const nodeOf = ({ object }: Entry): string => String(object['node']);
const watcher = (fields: Partial<Watcher> = {}): Watcher => ({
  ...{ pending: [], pendingBytes: 0, wake: () => undefined },
  ...fields,
});
const types = ({ pending }: Watcher): string[] => pending.map(({ type, entry }) => `${type} ${entry.revision}`);

test('createWatchers() asks an index once per event, and wakes only whom the event concerns', () => {
  let asked = 0;
  const byNode: EventIndex = {
    valuesOf({ entry, previous }) {
      asked += 1;
      return [entry, previous].filter((each) => each !== undefined).map(nodeOf);
    },
  };
  const watchers = createWatchers();
  let woken = 0;
  const others = Array.from({ length: 100 }, (_, index) =>
    watcher({ topic: { index: byNode, value: `other-${index}` }, wake: () => (woken += 1) }),
  );
  const mine = watcher({ topic: { index: byNode, value: 'mine' } });
  const all = watcher();
  const elsewhere = watcher({ namespace: 'e' });
  const stops = [...others, mine, all, elsewhere].map(watchers.add);
  const moved: StoreEvent = { type: 'MODIFIED', entry: on('third', 3), previous: on('mine', 2) };
  watchers.publish({ type: 'ADDED', entry: on('mine', 2) });
  watchers.publish(moved);
  watchers.publish({ type: 'MODIFIED', entry: on('third', 4), previous: moved.entry });
  assert.deepEqual(types(mine), ['ADDED 2', 'MODIFIED 3']);
  assert.deepEqual(types(all), ['ADDED 2', 'MODIFIED 3', 'MODIFIED 4']);
  assert.deepEqual(types(elsewhere), []);
  assert.deepEqual([woken, asked], [0, 3]);
  for (const stop of stops) stop();
  watchers.publish({ type: 'ADDED', entry: on('mine', 5) });
  assert.deepEqual([asked, mine.pending.length], [3, 2]);
});

test('createWatchers() ends all when continuity is lost', () => {
  const watchers = createWatchers();
  const topic = { index: { valuesOf: () => [''] }, value: '' };
  const both = [watcher(), watcher({ topic })];
  for (const each of both) watchers.add(each);
  watchers.failAll('lost');
  assert.deepEqual(
    both.map(({ failure }) => failure?.reason),
    ['Expired', 'Expired'],
  );
});
