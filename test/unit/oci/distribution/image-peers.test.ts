import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { WindlassError } from '../../../../lib/errors.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { createBlobFetcher, type BlobSource } from '../../../../oci/distribution/fetch-blob.ts';
import { createImagePeers } from '../../../../oci/distribution/image-peers.ts';
import type { PeerTransport } from '../../../../oci/distribution/peer-transport.ts';
import { openContentStore, type ContentStore } from '../../../../oci/content-store.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const digest = digestOf('manifest');
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf('layer'), size: 1_000_000 };
const signal = new AbortController().signal;
const status = (code: number) =>
  new WindlassError(code === 404 ? 'NotFound' : 'Unavailable', 'no', { details: { status: code } });

type Open = (peer: string) => Buffer;

const openNothing: Open = () => {
  throw new Error('not asked');
};

function makePeers(only: boolean, rounds: readonly (readonly string[])[], open = openNothing) {
  const clock = createFakeClock();
  const looks: string[] = [];
  const transport: PeerTransport = {
    find: async (asked) => (looks.push(asked), rounds[Math.min(looks.length, rounds.length) - 1] ?? []),
    open: async (peer) => ({ status: 200, headers: {}, body: Readable.from([open(peer)]) as never }),
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

test('manifest() takes what is right, from whoever is not busy', async () => {
  const asked: string[] = [];
  const { peers } = makePeers(false, [['a', 'b', 'c']], (peer) => {
    asked.push(peer);
    if (peer === 'a') throw status(429);
    return Buffer.from(peer === 'b' ? 'another' : 'manifest');
  });
  assert.equal((await peers.manifest(signal)).bytes.toString(), 'manifest');
  assert.deepEqual(asked, ['a', 'b', 'c']);
  const { peers: busy } = makePeers(false, [['a']], () => {
    throw status(503);
  });
  // The registry is asked.
  await assert.rejects(busy.manifest(signal), { reason: 'NotFound' });
});

test('manifest() waits for those that are busy where no registry has the image, but not for ever', async () => {
  let isBusy = true;
  const open: Open = () => {
    if (isBusy) throw status(429);
    return Buffer.from('manifest');
  };
  const { peers, clock, looks } = makePeers(true, [['a']], open);
  const asked = peers.manifest(signal);
  await clock.advance(1000);
  isBusy = false;
  // The fourth try may be 1.6 s after the third.
  await clock.advance(2000);
  assert.equal((await asked).bytes.toString(), 'manifest');
  assert.ok(looks.length > 1, 'others may have it by then');
  isBusy = true;
  const other = makePeers(true, [['a']], open);
  const hopeless = other.peers.manifest(signal);
  hopeless.catch(() => undefined);
  await other.clock.advance(130_000);
  await assert.rejects(hopeless, { reason: 'NotFound', message: /no other node that answers has manifest/ });
  const none = makePeers(true, [['a']], () => {
    throw status(404);
  });
  await assert.rejects(none.peers.manifest(signal), { reason: 'NotFound' });
});

test('createBlobFetcher() keeps nothing of a source that sent wrong bytes and broke off, when another goes on', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-fetch-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const store = openContentStore(root);
  const bytes = randomBytes(300_000);
  const descriptor = { mediaType: '', digest: digestOf(bytes), size: bytes.length };
  const fetch = createBlobFetcher({ clock: createFakeClock(), retryDelayMs: 1 });
  const offsets: number[] = [];
  const source = (name: string, content: Buffer, end: number): BlobSource => ({
    ...{ name, maxStalledTries: 1, minBytesPerSecond: 0, onReceived: () => undefined },
    async open(offset) {
      offsets.push(offset);
      const headers = { 'content-range': `bytes ${offset}-${content.length - 1}/${content.length}` };
      return { status: 206, headers, body: Readable.from([content.subarray(offset, end)]) as never };
    },
  });
  const wrong = source('node wrong', Buffer.alloc(bytes.length, 1), 200_000);
  await assert.rejects(fetch(wrong, descriptor, store, { signal }), /from node wrong was cut off at 200000/);
  await fetch(source('node right', bytes, bytes.length), descriptor, store, { signal });
  assert.deepEqual(offsets, [0, 200_000, 0]);
  assert.ok(readFileSync(store.blobPath(descriptor.digest)).equals(bytes));
  assert.deepEqual(readdirSync(join(root, 'ingest')), []);
  // Nothing to resume, and still wrong: nothing is kept.
  const other = { ...descriptor, digest: digestOf('other') };
  await assert.rejects(fetch(source('node right', bytes, bytes.length), other, store, { signal }), /has digest/);
  assert.deepEqual([store.has(other.digest), readdirSync(join(root, 'ingest'))], [false, []]);
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
