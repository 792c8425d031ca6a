import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { WindlassError } from '../../../../lib/errors.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { createBlobFetcher, type BlobSource } from '../../../../oci/distribution/fetch-blob.ts';
import { createImagePeers } from '../../../../oci/distribution/image-peers.ts';
import type { PeerTransport } from '../../../../oci/distribution/peer-transport.ts';
import type { ContentStore } from '../../../../oci/content-store.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const digest = digestOf('manifest');
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf('layer'), size: 1_000_000 };
const signal = new AbortController().signal;
const status = (code: number) =>
  new WindlassError(code === 404 ? 'NotFound' : 'Unavailable', 'no', { details: { status: code } });

function makePeers(only: boolean, rounds: readonly (readonly string[])[]) {
  const clock = createFakeClock();
  const looks: string[] = [];
  const transport: PeerTransport = {
    find: async (asked) => (looks.push(asked), rounds[Math.min(looks.length, rounds.length) - 1] ?? []),
    open: () => Promise.reject(new Error('not asked')),
    close: async () => undefined,
  };
  const peers = createImagePeers({ transport, clock }, { first: [], digest, only }, () => undefined);
  return { peers, looks, clock };
}

/** Tries sources as they come; those of `failures` fail that way. */
function user(failures: Readonly<Record<string, unknown>>) {
  const tried: string[] = [];
  const use = async ({ name }: BlobSource): Promise<void> => {
    tried.push(name);
    if (failures[name] !== undefined) throw failures[name] as Error;
  };
  return { tried, use };
}

test('fetch() asks who has the image once, and does not go back to one that failed', async () => {
  const { peers, looks } = makePeers(false, [['a', 'b']]);
  const broken = user({ 'node a': new Error('reset'), 'node b': status(404) });
  assert.equal(await peers.fetch(layer, signal, broken.use), false);
  assert.deepEqual(broken.tried.toSorted(), ['node a', 'node b']);
  // One that lacks this one blob may have the next.
  const next = user({});
  assert.equal(await peers.fetch(layer, signal, next.use), true);
  assert.deepEqual([next.tried, looks], [['node b'], [digest]]);
});

test('fetch() leaves a busy peer for the registry, and waits for it where there is none', async () => {
  const busy = user({ 'node a': status(503) });
  assert.equal(await makePeers(false, [['a']]).peers.fetch(layer, signal, busy.use), false);
  const { peers, clock } = makePeers(true, [['a'], ['a', 'b']]);
  const waiting = user({ 'node a': status(429) });
  const fetched = peers.fetch(layer, signal, waiting.use);
  await clock.advance(1000);
  // By then another one has it.
  assert.equal(await fetched, true);
  assert.equal(waiting.tried.at(-1), 'node b');
});

test('fetch() of what nobody has: the registry is asked, or, where there is none, it is NotFound', async () => {
  assert.equal(await makePeers(false, [[]]).peers.fetch(layer, signal, user({}).use), false);
  await assert.rejects(makePeers(true, [[]]).peers.fetch(layer, signal, user({}).use), { reason: 'NotFound' });
});

test('createBlobFetcher() gives up a source that is slower than it may be', async () => {
  const clock = createFakeClock();
  const fetch = createBlobFetcher({ clock, retryDelayMs: 1 });
  let offset = 0;
  const store = {
    openIngest: async () => ({
      get offset() {
        return offset;
      },
      write: async (chunk: Buffer) => void (offset += chunk.length),
      close: async () => undefined,
      commit: async () => undefined,
    }),
  } as unknown as ContentStore;
  async function* trickle() {
    for (;;) {
      await clock.advance(4000);
      yield Buffer.alloc(1000);
    }
  }
  const source = (minBytesPerSecond: number): BlobSource => ({
    ...{ name: 'node slow', maxStalledTries: 1, minBytesPerSecond, onReceived: () => undefined },
    open: async () => ({ status: 200, headers: {}, body: Readable.from(trickle()) as never }),
  });
  await assert.rejects(fetch(source(1000), layer, store, { signal }), /node slow was cut off .* only 250 bytes came/);
  assert.equal(offset, 3000, 'what came is kept for the next');
});
