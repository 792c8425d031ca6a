// Random failures on three test hosts, round after round, until the time is up or something does not come right.
//   node bench/chaos/run.ts [--minutes 15] [--seed N] [--nodes 3]
import { parseArgs } from 'node:util';
import { runChaosRound } from '../../test/support/cluster/chaos-round.ts';
import { startCluster } from '../../test/support/cluster.ts';

const ROUND_MS = 60_000;
const OUTAGE_MS = 10_000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '15' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
    nodes: { type: 'string', default: '3' },
  },
});
const endsAt = performance.now() + Number(values.minutes) * 60_000;
console.log(`seed ${values.seed}, ${values.nodes} nodes, ${values.minutes} min`);
await using cluster = await startCluster({ nodes: Number(values.nodes) });
const rested: number[] = [];
for (let round = 0; performance.now() < endsAt; round += 1) {
  const seed = Number(values.seed) + round * 10;
  const durationMs = Math.min(ROUND_MS, endsAt - performance.now());
  const options = { seed, durationMs, outageMs: OUTAGE_MS, say: (line: string) => console.log(`  ${line}`) };
  const { problems, restedAfterMs } = await runChaosRound(cluster, options);
  rested.push(restedAfterMs);
  console.log(`round ${round}: at rest after ${(restedAfterMs / 1000).toFixed(1)} s, ${problems.length} problems`);
  if (problems.length === 0) continue;
  console.log(problems.join('\n'));
  for (const { name, processes } of cluster.nodes)
    for (const one of processes) console.log(`-- ${name} ${one.name}\n${one.tail(30)}`);
  console.log(`-- controllers\n${cluster.controllers.tail(60)}`);
  process.exitCode = 1;
  break;
}
const longest = Math.max(0, ...rested) / 1000;
console.log(`${rested.length} rounds, at rest after ${longest.toFixed(1)} s at most`);
