import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createMemoryStore } from '../../../../../controllers/node-agent/container/memory.ts';
import {
  createContainerReconciler,
  type ContainerReconcilerDeps,
} from '../../../../../controllers/node-agent/container/reconcile.ts';
import { createRuntimeCache } from '../../../../../controllers/node-agent/runtime/runtime-cache.ts';
import { systemClock as clock } from '../../../../../lib/clock.ts';
import { WindlassError } from '../../../../../lib/errors.ts';
import { createLimit } from '../../../../../lib/limit.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createMemoryRuntime } from '../../../../support/memory-runtime.ts';
import { waitFor } from '../../../../support/wait.ts';
import { makeContainer, READY } from '../make.ts';

const away = (): Promise<never> => Promise.reject(new WindlassError('Unavailable', 'connection refused'));
/** The server takes the call and never answers. */
const hang = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
const { signal } = new AbortController();
const options = { signal, log: silentLogger() };

/** One Container of this node, bound by its user: nothing has put the finalizer on it. */
function setUp(t: TestContext, changes: Partial<ContainerReconcilerDeps>) {
  const podLogs = mkdtempSync(join(tmpdir(), 'windlass-reconcile-'));
  t.after(() => rmSync(podLogs, { recursive: true, force: true }));
  const runtime = createMemoryRuntime();
  const container = makeContainer({}, { metadata: { finalizers: [] } });
  const reconcile = createContainerReconciler({
    ...{
      runtime,
      clock,
      podLogs,
      cache: createRuntimeCache(runtime),
      log: silentLogger(),
      memory: createMemoryStore(),
    },
    cluster: { containers: { get: () => container, list: () => [container] } },
    client: { get: away, mergePatch: away },
    userRanges: { rangeOf: () => assert.fail('no user namespace was asked for') },
    nodeName: 'n1',
    hostIp: '192.0.2.1',
    limit: createLimit(4),
    health: { follow: () => undefined, stateOf: () => undefined, retain: () => undefined },
    predecessors: { of: () => [] },
    targetKeyOf: () => '',
    prepare: async () => READY,
    retire: async () => undefined,
    admit: async () => undefined,
    newest: () => container,
    record: () => undefined,
    cleanUp: async () => undefined,
    observeStart: () => undefined,
    ...changes,
  });
  return { runtime, reconcile: () => reconcile('shop/web', options) };
}

const isRunning = ({ containers }: ReturnType<typeof createMemoryRuntime>): boolean =>
  [...containers.values()].map(({ state }) => state).join(',') === 'Running';

test('reconcile() ends with its steps, not with a finalizer that could not be written', async (t) => {
  const prepared = Promise.withResolvers<typeof READY>();
  const { runtime, reconcile } = setUp(t, { prepare: () => prepared.promise });
  let isOver = false;
  const reconciling = reconcile().finally(() => (isOver = true));
  // What failed at once has been seen by now.
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isOver, false);
  prepared.resolve(READY);
  const { requeueAfterMs = 0 } = await reconciling;
  assert.ok(isRunning(runtime));
  assert.ok(requeueAfterMs > 0, 'finalizer and status are written again');
});

test('reconcile() throws what was wrong with the finalizer after the steps are done', async (t) => {
  const { runtime, reconcile } = setUp(t, {
    client: { get: away, mergePatch: () => Promise.reject(new WindlassError('Forbidden', 'not yours')) },
  });
  await assert.rejects(reconcile(), /not yours/);
  assert.ok(isRunning(runtime));
});

test('reconcile() starts a container while the API server takes calls and never answers', async (t) => {
  const { runtime, reconcile } = setUp(t, {
    client: { get: away, mergePatch: (_name, _namespace, _patch, _how, limited) => hang(limited) },
  });
  const startedAt = performance.now();
  const first = reconcile();
  await waitFor(() => isRunning(runtime));
  assert.ok(performance.now() - startedAt < 2_000, 'it does not wait for the server');
  assert.ok(((await first).requeueAfterMs ?? 0) > 0);
});
