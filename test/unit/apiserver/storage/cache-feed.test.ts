import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { it } from 'node:test';
import { createCacheFeed } from '../../../../apiserver/storage/cache-feed.ts';
import type { Watcher } from '../../../../apiserver/storage/watchers.ts';
import type { EtcdClient, EtcdCaller } from '../../../../apiserver/storage/etcd-client.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { waitFor } from '../../../support/wait.ts';

/** An etcd that holds nothing, whose watch streams the test speaks through. */
function scriptedEtcd() {
  const header = { revision: '5', cluster_id: 'one' };
  const streams: EventEmitter[] = [];
  const starts: string[] = [];
  const etcd = {
    kv: { range: async () => ({ header, kvs: [], more: false }) },
    watchClient: {
      async watch() {
        const write = (request: { create_request: { start_revision: string } }): unknown =>
          starts.push(request.create_request.start_revision);
        const stream = Object.assign(new EventEmitter(), { write, cancel: () => undefined });
        streams.push(stream);
        return stream;
      },
    },
  };
  const client = etcd as unknown as EtcdClient;
  const call: EtcdCaller = (_operation, run) => run(client);
  const feed = createCacheFeed({ client, call, prefix: '/w/', log: silentLogger() });
  const put = (stream: number, revision: number): void => {
    const value = Buffer.from('{"apiVersion":"v1","kind":"A","metadata":{"name":"x"}}');
    const kv = { key: Buffer.from('/w/registry/core/things/x'), value, mod_revision: String(revision) };
    streams[stream]?.emit('data', { canceled: false, events: [{ type: 'Put', kv }] });
  };
  return { feed, header, streams, starts, put };
}

it('createCacheFeed() delivers each event once although a lost stream goes on speaking', async () => {
  const { feed, header, streams, starts, put } = scriptedEtcd();
  const stop = new AbortController();
  const running = feed.run(stop.signal);
  await waitFor(() => starts.length === 1, { what: 'the first stream' });
  const watcher: Watcher = { pending: [], pendingBytes: 0, wake: () => undefined };
  feed.collection('core/things').subscribe(watcher);
  put(0, 6);
  streams[0]?.emit('error', new Error('connection reset'));
  header.revision = '7';
  await waitFor(() => starts.length === 2, { what: 'the second stream' });
  put(0, 7);
  put(1, 7);
  put(0, 6);
  put(1, 8);
  assert.deepEqual(
    watcher.pending.map(({ type, entry }) => [type, entry.revision]),
    [
      ['ADDED', 6],
      ['MODIFIED', 7],
      ['MODIFIED', 8],
    ],
  );
  assert.deepEqual(starts, ['6', '7']);
  stop.abort();
  await running;
});

it('createCacheFeed() ends its watches when another store answers, whatever its revision', async () => {
  const { feed, header, streams, starts } = scriptedEtcd();
  const stop = new AbortController();
  const running = feed.run(stop.signal);
  await waitFor(() => starts.length === 1, { what: 'the first stream' });
  const watcher: Watcher = { pending: [], pendingBytes: 0, wake: () => undefined };
  feed.collection('core/things').subscribe(watcher);
  Object.assign(header, { revision: '900', cluster_id: 'two' });
  streams[0]?.emit('error', new Error('connection reset'));
  await waitFor(() => starts.length === 2, { what: 'the second stream' });
  assert.equal(watcher.failure?.reason, 'Expired');
  assert.equal(feed.revision, 900);
  stop.abort();
  await running;
});
