import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';
import type { TLSSocket } from 'node:tls';
import { createNodeIdentities } from '../../../../apiserver/auth/node-identity.ts';
import type { ResourceStore } from '../../../../apiserver/storage/resource-store.ts';

const USER = { name: 'system:node:n1', groups: ['system:nodes'], nodeUid: 'u1' };

test('a Node that is deleted while it is looked for closes the connection that asked', async () => {
  const [deleted, told] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const store = {
    whenReady: async () => undefined,
    get: async () => {
      // What memory held a moment ago; the deletion is told before the answer arrives.
      deleted.resolve();
      await told.promise;
      return { object: { metadata: { name: 'n1', uid: 'u1' } } };
    },
    async *watch(_resource: unknown, _options: unknown, signal: AbortSignal) {
      await deleted.promise;
      yield { events: [{ type: 'DELETED', entry: { object: { metadata: { name: 'n1', uid: 'u1' } } } }] };
      told.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  let isClosed = false;
  const socket = Object.assign(new EventEmitter(), { destroy: () => void (isClosed = true) });
  const stop = new AbortController();
  const identities = createNodeIdentities(store as unknown as Pick<ResourceStore, 'get' | 'watch' | 'whenReady'>);
  const running = identities.run(stop.signal);
  await identities.check(USER, socket as unknown as TLSSocket);
  assert.equal(isClosed, true);
  socket.emit('close');
  stop.abort();
  await running;
});

test('a Node that is to be deleted opens nothing any more, whatever keeps it', async () => {
  const metadata = {
    name: 'n1',
    uid: 'u1',
    deletionTimestamp: '2026-01-01T00:00:00Z',
    finalizers: ['example.com/stay'],
  };
  const stop = new AbortController();
  let isClosed = false;
  const socket = Object.assign(new EventEmitter(), { destroy: () => void (isClosed = true) });
  let isMarked = false;
  const store = {
    whenReady: async () => undefined,
    get: async () => ({ object: { metadata: isMarked ? metadata : { name: 'n1', uid: 'u1' } } }),
    async *watch() {
      isMarked = true;
      yield { events: [{ type: 'MODIFIED', entry: { object: { metadata } } }] };
      stop.abort();
    },
  };
  const identities = createNodeIdentities(store as unknown as Pick<ResourceStore, 'get' | 'watch' | 'whenReady'>);
  assert.equal(await identities.check(USER, socket as unknown as TLSSocket), USER);
  await identities.run(stop.signal);
  assert.equal(isClosed, true);
  await assert.rejects(identities.check(USER, socket as unknown as TLSSocket), /node "n1" was deleted/);
});

test('a certificate without a UID stands for a Node of its name, unless another machine has joined as that', async () => {
  const { nodeUid: _, ...user } = USER;
  const joined = { name: 'n1', uid: 'u2', annotations: { 'windlass.dev/node-key': 'sha256:1' } };
  let stored: object | undefined;
  const joining = Promise.withResolvers<void>();
  const store = {
    whenReady: async () => undefined,
    get: async () => stored && { object: { metadata: stored } },
    async *watch(_resource: unknown, _options: unknown, signal: AbortSignal) {
      await joining.promise;
      yield { events: [{ type: 'ADDED', entry: { object: { metadata: joined } } }] };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  const closed = Promise.withResolvers<void>();
  const socket = Object.assign(new EventEmitter(), { destroy: () => closed.resolve() }) as unknown as TLSSocket;
  const stop = new AbortController();
  const identities = createNodeIdentities(store as unknown as Pick<ResourceStore, 'get' | 'watch' | 'whenReady'>);
  const running = identities.run(stop.signal);
  assert.equal(await identities.check(user, socket), user);
  stored = { name: 'n1', uid: 'u1' };
  assert.equal(await identities.check(user, socket), user);
  stored = joined;
  joining.resolve();
  await closed.promise;
  await assert.rejects(identities.check(user, socket), /another machine has joined as node "n1"/);
  stop.abort();
  await running;
});
