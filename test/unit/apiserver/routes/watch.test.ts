import assert from 'node:assert/strict';
import { it, mock } from 'node:test';
import { createRegistry } from '../../../../apiserver/resources/registry.ts';
import type { ApiDeps, Call } from '../../../../apiserver/routes/call.ts';
import { handleWatch } from '../../../../apiserver/routes/watch.ts';
import type { ResourceStore, StoreBatch } from '../../../../apiserver/storage/resource-store.ts';
import { systemClock } from '../../../../lib/clock.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { makeResource } from '../resource.ts';

/** How often the store's watch says how far it is when nothing happens. */
const PROGRESS_MS = 15_000;

it('a silent watch gets a bookmark at least every minute', async () => {
  mock.timers.enable({ apis: ['Date'] });
  async function* silence(): AsyncGenerator<StoreBatch> {
    for (let revision = 1; revision <= 40; revision += 1) {
      yield { events: [], revision };
      mock.timers.tick(PROGRESS_MS);
    }
  }
  const store = { watch: silence } as unknown as ResourceStore;
  const deps = { store, registry: createRegistry(), clock: systemClock, log: silentLogger() } as unknown as ApiDeps;
  const path = { group: '', version: 'v1', plural: 'things', namespace: '', name: '', subresource: '' };
  const query = new URLSearchParams('watch=true&resourceVersion=1&allowWatchBookmarks=true');
  const call = { resource: makeResource(), path, query, accept: '', signal: new AbortController().signal };
  const { body } = await handleWatch(deps, call as unknown as Call);
  const times = [Date.now()];
  for await (const frame of body as AsyncIterable<Buffer>) {
    assert.match(frame.toString(), /"type":"BOOKMARK"/);
    times.push(Date.now());
  }
  const longest = Math.max(...times.slice(1).map((time, index) => time - (times[index] as number)));
  assert.ok(times.length > 10 && longest <= 60_000, `${longest} ms without a bookmark`);
  mock.timers.reset();
});
