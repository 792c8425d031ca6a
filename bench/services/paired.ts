// Two checkouts of the whole of windlass in turn: what a replica costs each process, and what it makes them do.
//   node_modules/.bin/node bench/services/paired.ts [--base <other checkout>] [--rounds 5] [--step 50] [--times]
// Counted per replica: processor time by process (work after the last answer included, and that of children it has waited
// for), requests by verb and resource, transactions of etcd and events of watches. Counts and processor time hardly depend
// on what else the machine does; --times adds the time by the clock, which does. Who comes first alternates.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { renderTable, summarise, timed } from '../measure.ts';
import { cpuMsOfProcess } from '../runtime/cpu-time.ts';
import { start, type Checkout } from './checkouts.ts';
import { readCounters } from './counters.ts';
import type { FollowedServices } from './follow.ts';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    step: { type: 'string', default: '50' },
    times: { type: 'boolean', default: false },
  },
});
const [rounds, step] = [Number(values.rounds), Number(values.step)];
/** After the last answer Events and statuses are still written. */
const REST_MS = 1500;
/** What has run that long is restarted at once. */
const STABLE_MS = 11_000;

type Costs = Map<string, number>;

async function observe(one: Checkout): Promise<Costs> {
  const costs = new Map([...one.pids()].map(([name, pid]) => [`cpu ms ${name}`, cpuMsOfProcess(pid)]));
  for (const [name, count] of await readCounters(one.services.api)) costs.set(name, count);
  return costs;
}

/** Undefined when a process was started again meanwhile, and its counts with it. */
async function cost(one: Checkout, replicas: number, work: () => Promise<void>): Promise<Costs | undefined> {
  const pids = [...one.pids().values()].join();
  const before = await observe(one);
  const ms = await timed(work);
  await sleep(REST_MS);
  if ([...one.pids().values()].join() !== pids) return undefined;
  const result: Costs = new Map();
  for (const [name, value] of await observe(one)) result.set(name, (value - (before.get(name) ?? 0)) / replicas);
  const ours = [...result].filter(([name]) => name.startsWith('cpu ms'));
  result.set(
    'cpu ms all',
    ours.reduce((sum, [, value]) => sum + value, 0),
  );
  if (values.times) result.set('clock ms', ms / replicas);
  return result;
}

const STEPS: readonly (readonly [string, number, (services: FollowedServices) => Promise<void>])[] = [
  [`scale 0 → ${step}`, step, (services) => services.scale('web', step)],
  ['killed', 1, (services) => services.killOne('web')],
  [`scale ${step} → 0`, step, (services) => services.scale('web', 0)],
  ['create to Ready', 1, (services) => services.create('single', 1)],
];

const checkouts: Checkout[] = [];
const results = new Map<string, (Costs | undefined)[]>();
try {
  const here = join(import.meta.dirname, '../..');
  if (values.base !== undefined) checkouts.push(await start('before', values.base));
  checkouts.push(await start('now', here));
  for (let round = -1; round < rounds; round += 1) {
    for (const one of round % 2 === 0 ? checkouts : checkouts.toReversed()) {
      await one.services.create('web', 0);
      for (const [label, replicas, run] of STEPS) {
        if (label === 'killed') await sleep(STABLE_MS);
        const costs = await cost(one, replicas, () => run(one.services));
        // The first round compiles and fills caches.
        if (round < 0) continue;
        const key = `${one.name} ${label}`;
        results.set(key, [...(results.get(key) ?? []), costs]);
      }
      for (const name of ['single', 'web']) await one.services.remove(name);
    }
  }
} finally {
  for (const one of checkouts) await one.close();
}

const median = (numbers: readonly number[]): number => summarise(numbers).medianMs;
for (const [label] of STEPS) {
  const measured = checkouts.map(({ name }) => results.get(`${name} ${label}`) ?? []);
  // A round counts when neither lost a process in it.
  const all = measured.map((column) =>
    column.filter((costs, index): costs is Costs => measured.every((other) => other[index] !== undefined) && !!costs),
  );
  const names = [...new Set(all.flat().flatMap((costs) => [...costs.keys()]))].toSorted();
  const rows = names.map((name) => {
    const columns = all.map((costs) => costs.map((one) => one.get(name) ?? 0));
    const [before = [], now] = columns;
    const less = now?.filter((value, index) => value < (before[index] ?? 0)).length;
    return {
      largest: Math.max(...columns.map(median)),
      cells: [
        name,
        ...columns.map((column) => median(column).toFixed(2)),
        ...(now
          ? [median(now.map((value, index) => value - (before[index] ?? 0))).toFixed(2), `${less} of ${now.length}`]
          : []),
      ],
    };
  });
  const header = [
    label,
    ...checkouts.map(({ name }) => name),
    ...(checkouts.length > 1 ? ['difference', 'less in'] : []),
  ];
  const shown = rows.filter(({ largest }) => largest >= 0.02).map(({ cells }) => cells);
  console.log(`\n${renderTable(header, shown)}`);
}
