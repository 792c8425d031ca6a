import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOrphanRemoval } from '../../../../../controllers/node-agent/container/orphan-removal.ts';
import { WindlassError } from '../../../../../lib/errors.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { Registry } from '../../../../../lib/metrics.ts';
import { makeContainer, makeRun, makeSandbox } from '../make.ts';

const sandbox = makeSandbox(makeContainer(), { id: 's1' });

function start() {
  const registry = new Registry();
  const done: string[] = [];
  const said: string[] = [];
  const trouble: { error: Error | undefined; isDeaf?: boolean; isAway?: boolean } = { error: undefined };
  const removal = createOrphanRemoval({
    runtime: {
      version: async () => {
        if (trouble.isAway) throw trouble.error;
        return { name: 'windlass', version: '1' };
      },
      stopContainer: async (id, graceSeconds) => void done.push(`stop ${id} within ${graceSeconds} s`),
      stopSandbox: async (id) => {
        if (trouble.error) throw trouble.error;
        done.push(`stop ${id}`);
      },
      removeSandbox: async (id) => void done.push(`remove ${id}`),
    },
    cache: {
      dropSandbox: (id) => done.push(`drop ${id}`),
      viewOf: () => ({ sandboxes: [sandbox], containers: [makeRun({ id: 'c1' }), makeRun({ state: 'Exited' })] }),
    },
    predecessors: { gone: () => makeContainer({ terminationGracePeriodSeconds: 3 }) },
    registry,
    log: silentLogger(),
    tell: (type, reason, message) => !trouble.isDeaf && said.push(`${type} ${reason}: ${message}`) > 0,
  });
  const metric = async (name: string): Promise<string | undefined> =>
    new RegExp(`^${name} (\\d+)$`, 'm').exec(await registry.metrics())?.[1];
  return { removal, done, said, trouble, metric };
}

test('remove() stops the containers with the grace of their spec, and removes the sandbox', async () => {
  const { removal, done, said } = start();
  assert.equal(await removal.remove(sandbox), undefined);
  assert.deepEqual(done, ['stop c1 within 3 s', 'stop s1', 'remove s1', 'drop s1']);
  assert.deepEqual(said, []);
});

test('remove() gives ever longer times for a sandbox that stays, and says each new reason once', async () => {
  const { removal, said, trouble, metric } = start();
  const delays: (number | undefined)[] = [];
  for (const message of ['busy', 'busy', 'busy', 'broken']) {
    trouble.error = new Error(message);
    // The Node is not known from the first moment on.
    trouble.isDeaf = delays.length === 0;
    delays.push((await removal.remove(sandbox))?.retryAfterMs);
  }
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000]);
  assert.equal(removal.isStuck('s1'), true);
  assert.equal(await metric('windlass_node_agent_stuck_orphans'), '1');
  trouble.error = undefined;
  assert.equal(await removal.remove(sandbox), undefined);
  const it = 'sandbox s1 of shop/web, which no Container owns,';
  assert.deepEqual(said, [
    `Warning OrphanNotRemoved: ${it} cannot be removed and is tried again: busy`,
    `Warning OrphanNotRemoved: ${it} cannot be removed and is tried again: broken`,
    `Normal OrphanRemoved: ${it} is removed`,
  ]);
  assert.equal(removal.isStuck('s1'), false);
  assert.equal(await metric('windlass_node_agent_stuck_orphans'), '0');
  assert.equal(await metric('windlass_node_agent_orphan_removal_errors_total'), '4');
});

test('remove() blames no sandbox for a runtime that is away', async () => {
  const { removal, trouble, said } = start();
  Object.assign(trouble, { error: new WindlassError('Unavailable', 'no runtime'), isAway: true });
  await assert.rejects(removal.remove(sandbox), /no runtime/);
  assert.deepEqual([removal.isStuck('s1'), said], [false, []]);
  // One that answers has a reason of its own: a full disk, say.
  trouble.isAway = false;
  assert.deepEqual(await removal.remove(sandbox), { retryAfterMs: 1_000 });
});

test('retain() forgets sandboxes that went in another way', async () => {
  const { removal, trouble } = start();
  trouble.error = new Error('busy');
  await removal.remove(sandbox);
  removal.retain(new Set(['s1', 's2']));
  assert.equal(removal.isStuck('s1'), true);
  removal.retain(new Set(['s2']));
  assert.equal(removal.isStuck('s1'), false);
});
