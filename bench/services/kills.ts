// Replicas that are killed one after the other, in two checkouts in turn: until each runs again and is Ready.
//   node_modules/.bin/node bench/services/kills.ts --base <other checkout> [--replicas 12] [--rounds 3]
// Processor time is that of its processes, without what children cost that nobody waits for (conmon and the OCI runtime).
// About a kill a second, so that each has run for longer than 10 s, after which there is no pause before a restart.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { renderTable, summarise, timed } from '../measure.ts';
import { cpuMsOfProcess } from '../runtime/cpu-time.ts';
import { start, type Checkout } from './checkouts.ts';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    replicas: { type: 'string', default: '12' },
    rounds: { type: 'string', default: '3' },
  },
});
const [replicas, rounds] = [Number(values.replicas), Number(values.rounds)];
/** What has run that long is restarted at once. */
const STABLE_MS = 11_000;
/** Events are written after the last answer. */
const REST_MS = 500;

const checkouts: Checkout[] = [];
const times = new Map<string, number[]>();
const spent = new Map<string, number>();
const cpuMsOf = (one: Checkout): number => [...one.pids().values()].reduce((sum, pid) => sum + cpuMsOfProcess(pid), 0);
try {
  if (values.base !== undefined) checkouts.push(await start('before', values.base));
  checkouts.push(await start('now', join(import.meta.dirname, '../..')));
  for (const { services } of checkouts) await services.create('web', replicas);
  for (let round = 0; round < rounds; round += 1) {
    await sleep(STABLE_MS);
    for (let index = 0; index < replicas; index += 1) {
      for (const one of (round + index) % 2 === 0 ? checkouts : checkouts.toReversed()) {
        const before = cpuMsOf(one);
        times.set(one.name, [...(times.get(one.name) ?? []), await timed(() => one.services.killOne('web', index))]);
        await sleep(REST_MS);
        spent.set(one.name, (spent.get(one.name) ?? 0) + cpuMsOf(one) - before);
      }
    }
  }
  for (const { services } of checkouts) await services.remove('web');
} finally {
  for (const one of checkouts) await one.close();
}

const all = checkouts.map(({ name }) => times.get(name) ?? []);
const [before = [], now = []] = all;
console.log(
  renderTable(
    ['ms', ...checkouts.map(({ name }) => name)],
    [
      ['median', ...all.map((one) => summarise(one).medianMs.toFixed(1))],
      ['p99', ...all.map((one) => summarise(one).p99Ms.toFixed(1))],
      [
        'processor time',
        ...checkouts.map(({ name }, at) => ((spent.get(name) ?? 0) / (all[at]?.length ?? 1)).toFixed(1)),
      ],
    ],
  ),
);
if (checkouts.length > 1) {
  const differences = now.map((ms, index) => ms - (before[index] ?? 0));
  const less = differences.filter((ms) => ms < 0).length;
  console.log(
    `median of the differences ${summarise(differences).medianMs.toFixed(1)} ms, less in ${less} of ${now.length}`,
  );
}
