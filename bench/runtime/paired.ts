// Two checkouts of the shim in turn, by processor time: what a change costs or saves on a machine that others use too.
//   node_modules/.bin/node bench/runtime/paired.ts --base <other checkout> [--oci-runtime crun] [--rounds 20] [--burst 20]
// Counted is what the kernel charged to the shim, its monitors, the OCI runtimes and the containers, the work that goes
// on after the last answer included. Who comes first alternates from round to round.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { inFlight, renderTable, summarise } from '../measure.ts';
import { makeInput } from './peer.ts';
import { createShim, type ShimPeer } from './shim.ts';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    'oci-runtime': { type: 'string', default: 'crun' },
    rounds: { type: 'string', default: '20' },
    burst: { type: 'string', default: '20' },
    'in-flight': { type: 'string', default: '8' },
    execs: { type: 'string', default: '20' },
    pool: { type: 'string', default: '0' },
  },
});
const [rounds, burst, width, execs, poolSize] = [
  ...[values.rounds, values.burst, values['in-flight'], values.execs, values.pool].map(Number),
] as [number, number, number, number, number];
const ociRuntime = values['oci-runtime'] === 'runc' ? 'runc' : 'crun';
if (values.base === undefined) throw new Error('--base: the folder of the checkout to compare with');

const MEASURES = ['start', 'exec', 'remove'] as const;
type Measure = (typeof MEASURES)[number];
const REST_MS = 200;

/** What a process does after its last answer counts, for a while: a shim with containers is never quite at rest. */
async function settled(shim: ShimPeer): Promise<number> {
  await sleep(REST_MS);
  return shim.cpuMs();
}

async function cost(shim: ShimPeer, count: number, work: () => Promise<unknown>): Promise<number> {
  const before = await settled(shim);
  await work();
  return ((await settled(shim)) - before) / count;
}

async function measure(shim: ShimPeer, round: number): Promise<Record<Measure, number>> {
  const names = Array.from({ length: burst }, (_, index) => `paired-${round}-${index}`);
  const start = await cost(shim, burst, () => inFlight(width, names, shim.start));
  const exec = await cost(shim, execs, async () => {
    for (let index = 0; index < execs; index += 1) await shim.execTrue?.(names[index % names.length] ?? '');
  });
  const remove = await cost(shim, burst, () => inFlight(width, names, shim.remove));
  return { start, exec, remove };
}

using input = makeInput();
const shims: ShimPeer[] = [];
const results: Record<Measure, number>[][] = [[], []];
const turns: number[] = [0, 0];
try {
  for (const checkout of [values.base, undefined])
    shims.push(await createShim(input, { ociRuntime, poolSize, ...(checkout === undefined ? {} : { checkout }) }));
  for (const shim of shims) await measure(shim, -1);
  for (const shim of shims) await shim.longestTurn();
  for (let round = 0; round < rounds; round += 1) {
    for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const shim = shims[which];
      if (shim) results[which]?.push(await measure(shim, round));
    }
  }
  for (const [which, shim] of shims.entries()) turns[which] = (await shim.longestTurn()).cpuMs;
} finally {
  for (const shim of shims) await shim.close();
}

const median = (numbers: readonly number[]): number => summarise(numbers).medianMs;
const rows = MEASURES.map((what) => {
  const [base, now] = results.map((all) => all.map((one) => one[what])) as [number[], number[]];
  const differences = base.map((value, index) => (now[index] ?? Number.NaN) - value);
  const better = differences.filter((difference) => difference < 0).length;
  return [
    what,
    median(base).toFixed(2),
    median(now).toFixed(2),
    median(differences).toFixed(2),
    `${better} of ${differences.length}`,
  ];
});
console.log(`${ociRuntime}, ${rounds} rounds of ${burst} with ${width} in flight, pool of ${poolSize}\n`);
console.log(renderTable(['processor time, ms each', 'base', 'now', 'median of the differences', 'less in'], rows));
console.log(
  `\nLongest turn of the event loop, ms of processor time: ${turns.map((turn) => turn.toFixed(1)).join(' -> ')}`,
);
