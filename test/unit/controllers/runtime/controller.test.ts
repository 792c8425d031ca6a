import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createController, watch, type WatchedKind } from '../../../../controllers/runtime/controller.ts';
import { createIndex, type Cache } from '../../../../controllers/runtime/cache.ts';
import { createLoopMetrics } from '../../../../controllers/runtime/queue-metrics.ts';
import type { Result } from '../../../../controllers/runtime/reconciler.ts';
import type { KubernetesObject } from '../../../../crds/kind.ts';
import { TerminalError } from '../../../../lib/errors.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { Registry } from '../../../../lib/metrics.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { makeContainer } from '../../../support/objects.ts';

type Handler = Parameters<WatchedKind<KubernetesObject>['subscribe']>[0];

function makeSource() {
  const handlers: Handler[] = [];
  return {
    emit: (object: KubernetesObject, previous?: KubernetesObject, deleted = false) => {
      for (const handler of handlers) handler({ object, previous, deleted });
    },
    source: {
      synced: async () => undefined,
      subscribe: (handler: Handler) => {
        handlers.push(handler);
        return () => undefined;
      },
    },
  };
}

interface LoopOptions {
  readonly onTerminal?: (key: string) => void;
  /** Resolves when the caches of the process are complete. */
  readonly synced?: Promise<void>;
}

async function runLoop(reconcile: (key: string, count: number) => Result, options: LoopOptions = {}) {
  const clock = createFakeClock();
  const registry = new Registry();
  const { source, emit } = makeSource();
  const stop = new AbortController();
  const calls: string[] = [];
  const part = createController(
    { clock, log: silentLogger(), metrics: createLoopMetrics(registry), synced: async () => options.synced },
    {
      name: 'test',
      watches: [watch(source, ({ metadata }) => [metadata.name])],
      reconcile: async (key) => {
        calls.push(key);
        return reconcile(key, calls.filter((called) => called === key).length);
      },
      onTerminal: async (key) => options.onTerminal?.(key),
    },
  );
  const done = part.run(stop.signal);
  await clock.advance(0);
  return { clock, emit, calls, registry, stop: () => (stop.abort(), done) };
}

test('a changed object is reconciled under its key', async () => {
  const loop = await runLoop(() => ({}));
  loop.emit(makeContainer('a'));
  await loop.clock.advance(0);
  assert.deepEqual(loop.calls, ['a']);
  await loop.stop();
});

test('nothing is reconciled before all caches of the process are complete', async () => {
  const caches = Promise.withResolvers<void>();
  const loop = await runLoop(() => ({}), { synced: caches.promise });
  loop.emit(makeContainer('a'));
  await loop.clock.advance(60_000);
  assert.deepEqual(loop.calls, []);
  caches.resolve();
  await loop.clock.advance(0);
  assert.deepEqual(loop.calls, ['a']);
  await loop.stop();
});

test('the keys of the object as it was are reconciled too', async () => {
  const loop = await runLoop(() => ({}));
  loop.emit(makeContainer('new'), makeContainer('old'));
  await loop.clock.advance(0);
  assert.deepEqual(loop.calls, ['new', 'old']);
  await loop.stop();
});

test('a failure is retried with growing delays until it works', async () => {
  const loop = await runLoop((_key, count) => {
    if (count < 4) throw new Error('not yet');
    return {};
  });
  loop.emit(makeContainer('a'));
  await loop.clock.advance(10_000);
  assert.equal(loop.calls.length, 4);
  const text = await loop.registry.metrics();
  assert.match(text, /controller_runtime_reconcile_errors_total\{controller="test"\} 3/);
  assert.match(text, /controller_runtime_reconcile_total\{controller="test",result="success"\} 1/);
  assert.match(text, /workqueue_retries_total\{name="test"\} 3/);
  await loop.stop();
});

test('requeueAfterMs brings the key back', async () => {
  const loop = await runLoop((_key, count) => (count === 1 ? { requeueAfterMs: 500 } : {}));
  loop.emit(makeContainer('a'));
  await loop.clock.advance(499);
  assert.equal(loop.calls.length, 1);
  await loop.clock.advance(1);
  assert.equal(loop.calls.length, 2);
  await loop.stop();
});

test('a TerminalError is told once and not retried until the object changes', async () => {
  const told: string[] = [];
  const loop = await runLoop(
    () => {
      throw new TerminalError('NotSupported', 'never');
    },
    { onTerminal: (key) => void told.push(key) },
  );
  loop.emit(makeContainer('a'));
  await loop.clock.advance(600_000);
  assert.deepEqual([loop.calls, told], [['a'], ['a']]);
  loop.emit(makeContainer('a'));
  await loop.clock.advance(0);
  assert.equal(loop.calls.length, 2);
  await loop.stop();
});

test('metrics are there with zeros before anything happened', async () => {
  const loop = await runLoop(() => ({}));
  const text = await loop.registry.metrics();
  for (const series of [
    'workqueue_adds_total{name="test"} 0',
    'workqueue_depth{name="test"} 0',
    'workqueue_retries_total{name="test"} 0',
    'workqueue_unfinished_work_seconds{name="test"} 0',
    'workqueue_queue_duration_seconds_count{name="test"} 0',
    'workqueue_work_duration_seconds_count{name="test"} 0',
    'controller_runtime_reconcile_errors_total{controller="test"} 0',
    'controller_runtime_reconcile_total{controller="test",result="error"} 0',
    'controller_runtime_reconcile_time_seconds_count{controller="test"} 0',
  ]) {
    assert.ok(text.includes(series), series);
  }
  await loop.stop();
});

test('createIndex() follows values that change and objects that go', () => {
  const { source, emit } = makeSource();
  const cache = { ...source, get: () => undefined, list: () => [] } as unknown as Cache<
    ReturnType<typeof makeContainer>
  >;
  const index = createIndex(cache, ({ spec }) => (spec.nodeName ? [spec.nodeName] : []));
  const names = (node: string) => index.get(node).map(({ metadata }) => metadata.name);
  const first = makeContainer('a', { nodeName: 'n1' });
  emit(first);
  emit(makeContainer('b', { nodeName: 'n1' }));
  assert.deepEqual(names('n1'), ['a', 'b']);
  const moved = makeContainer('a', { nodeName: 'n2' });
  emit(moved, first);
  assert.deepEqual([names('n1'), names('n2')], [['b'], ['a']]);
  emit(moved, moved, true);
  assert.deepEqual(names('n2'), []);
});
