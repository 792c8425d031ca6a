import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { applyStep, type ApplyDeps } from '../../../../../controllers/node-agent/container/apply-step.ts';
import { createMemoryStore } from '../../../../../controllers/node-agent/container/memory.ts';
import { createRuntimeCache } from '../../../../../controllers/node-agent/runtime/runtime-cache.ts';
import type { Container } from '../../../../../crds/container.ts';
import { isNotFound, WindlassError } from '../../../../../lib/errors.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';
import { createMemoryRuntime } from '../../../../support/memory-runtime.ts';
import { makeContainer, makeRun, READY } from '../make.ts';

function setUp(t: TestContext, changes: Partial<ReturnType<typeof createMemoryRuntime>> = {}) {
  const podLogs = mkdtempSync(join(tmpdir(), 'windlass-steps-'));
  t.after(() => rmSync(podLogs, { recursive: true, force: true }));
  const runtime = { ...createMemoryRuntime(), ...changes };
  const cache = createRuntimeCache(runtime);
  const events: string[] = [];
  let newest: Container | undefined;
  const clock = createFakeClock();
  const deps: ApplyDeps = {
    ...{ runtime, cache, podLogs, clock },
    log: silentLogger(),
    userRanges: { rangeOf: () => assert.fail('no user namespace was asked for') },
    retire: async () => undefined,
    newest: (container) => newest ?? container,
    record: (_, type, reason, message) => events.push(`${type} ${reason}: ${message}`),
  };
  const memory = createMemoryStore().of('u1');
  return { deps, memory, events, clock, runtime, cache, become: (next: Container) => void (newest = next) };
}

const { signal } = new AbortController();
const CREATE = { kind: 'create', attempt: 0, restartCount: 0, shortRuns: 0 } as const;

test('applyStep() tells of something that is missing on the node, as of any other failure to create', async (t) => {
  const { deps, memory, events, cache } = setUp(t, {
    createContainer: () => Promise.reject(new WindlassError('NotFound', 'device /dev/none does not exist')),
  });
  const input = { container: makeContainer(), memory, prepared: READY, signal };
  await applyStep(deps, input, { kind: 'run-sandbox', attempt: 0 });
  const sandboxId = cache.sandboxes()[0]?.id ?? '';
  await applyStep(deps, input, { ...CREATE, sandboxId });
  assert.equal(memory.startFailure?.message, 'device /dev/none does not exist');
  assert.deepEqual(events, ['Warning CreateFailed: device /dev/none does not exist']);
});

test('applyStep() says nothing when the sandbox went away under it, and knows of that afterwards', async (t) => {
  const { deps, memory, events, runtime, cache } = setUp(t, {
    createContainer: () => Promise.reject(new WindlassError('NotFound', 'sandbox s1 not found')),
  });
  const input = { container: makeContainer(), memory, prepared: READY, signal };
  await applyStep(deps, input, { kind: 'run-sandbox', attempt: 0 });
  const sandboxId = cache.sandboxes()[0]?.id ?? '';
  runtime.sandboxes.clear();
  await assert.rejects(applyStep(deps, input, { ...CREATE, sandboxId }), isNotFound);
  assert.deepEqual([events, memory.startFailure, cache.sandboxes()], [[], undefined, []]);
});

test('applyStep() retires a container that still runs before its sandbox is removed', async (t) => {
  const { deps, memory, events, cache, runtime } = setUp(t, {});
  const metadata = { ...makeContainer().metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  const input = { container: { ...makeContainer(), metadata }, memory, prepared: READY, signal };
  await applyStep(deps, input, { kind: 'run-sandbox', attempt: 0 });
  const sandboxId = cache.sandboxes()[0]?.id ?? '';
  cache.putContainer(makeRun({ sandboxId }));
  const retired: number[] = [];
  const retire = async (): Promise<void> => void retired.push(runtime.sandboxes.size);
  await applyStep({ ...deps, retire }, input, { kind: 'remove-sandbox', sandboxId, why: 'it is deleted' });
  assert.deepEqual([retired, runtime.sandboxes.size, cache.containers()], [[1], 0, []]);
  assert.deepEqual(events, ['Normal Killing: stopping the container: it is deleted']);
});

test('a stop under way gets the shorter grace period of a delete', async (t) => {
  const graces: number[] = [];
  const stopped = Promise.withResolvers<void>();
  const { deps, memory, clock, become } = setUp(t, {
    stopContainer: async (_, graceSeconds) => {
      graces.push(graceSeconds);
      if (graceSeconds > 1) await stopped.promise;
      else stopped.resolve();
    },
  });
  const container = makeContainer({ terminationGracePeriodSeconds: 3600 });
  const stopping = applyStep(
    deps,
    { container, memory, prepared: undefined, signal },
    { kind: 'stop', containerId: 'c1', why: 'x' },
  );
  await clock.advance(1000);
  assert.deepEqual(graces, [3600]);
  const metadata = { ...container.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 1 };
  become({ ...container, metadata });
  await clock.advance(300);
  await stopping;
  assert.deepEqual(graces, [3600, 1]);
});
