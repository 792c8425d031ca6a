// Half a minute of random failures and changes on three hosts; then everything is as it should be. Longer forms are
// `npm run test:long` and bench/chaos/run.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster } from '../support/cluster.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { runChaosRound } from '../support/cluster/chaos-round.ts';

test('a cluster that is broken at random comes to rest with nothing lost and nothing twice', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const seed = Number(process.env['WINDLASS_CHAOS_SEED'] ?? Date.now() % 1e6);
  t.diagnostic(`WINDLASS_CHAOS_SEED=${seed}`);
  await using cluster = await startCluster({ nodes: 3 });
  const lines: string[] = [];
  const { problems, restedAfterMs } = await runChaosRound(cluster, {
    ...{ seed, durationMs: process.env['WINDLASS_LONG'] ? 300_000 : 30_000, outageMs: 8_000 },
    say: (line) => lines.push(line),
  });
  t.diagnostic(`at rest after ${Math.round(restedAfterMs / 1000)} s`);
  assert.deepEqual(problems, [], `seed ${seed}:\n${lines.join('\n')}`);
});
