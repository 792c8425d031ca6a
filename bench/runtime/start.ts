// What a container start costs below the API: our shim through CRI beside the runtimes people use, in one run.
//   node_modules/.bin/node bench/runtime/start.ts [--rounds 20] [--bursts 3] [--burst 100] [--in-flight 8] [--only text]
// Same image, same seccomp filter, network and logs on (the bare runtimes have neither). Rounds alternate between all,
// so that what else the machine does hits all alike: compare the ratios of one run, not the times of two. Each peer is
// started here on folders and in a net namespace of its own and stopped afterwards; what is not installed is left out.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import { inFlight, renderTable, summarise, timed } from '../measure.ts';
import { createBare } from './bare.ts';
import { createContainerd } from './containerd.ts';
import { createDocker } from './docker.ts';
import { measureMemory } from './memory.ts';
import { makeInput, PeerMissing, type Peer } from './peer.ts';
import { createPodman } from './podman.ts';
import { createShim, type ShimPeer } from './shim.ts';
import { waitForQuiet } from './quiet.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    bursts: { type: 'string', default: '3' },
    burst: { type: 'string', default: '100' },
    'in-flight': { type: 'string', default: '8' },
    /** Only peers whose name holds one of these texts, separated by commas. */
    only: { type: 'string', default: '' },
    'skip-memory': { type: 'boolean', default: false },
  },
});
const [rounds, bursts, burst, width] = [values.rounds, values.bursts, values.burst, values['in-flight']].map(
  Number,
) as [number, number, number, number];

type Measure = 'start' | 'exec' | 'remove' | 'burst' | 'burstRemove';
const MEASURES: readonly Measure[] = ['start', 'exec', 'remove', 'burst', 'burstRemove'];

const isShim = (peer: Peer): peer is ShimPeer => 'longestTurn' in peer;

using input = makeInput();
const wanted = values.only.split(',').filter(Boolean);
const isWanted = (name: string): boolean => wanted.length === 0 || wanted.some((text) => name.includes(text));
const makers: readonly (readonly [names: readonly string[], make: () => Promise<readonly Peer[]>])[] = [
  [['windlass crun cold'], async () => [await createShim(input, { ociRuntime: 'crun', poolSize: 0 })]],
  [['windlass crun pooled'], async () => [await createShim(input, { ociRuntime: 'crun', poolSize: 16 })]],
  [['windlass runc cold'], async () => [await createShim(input, { ociRuntime: 'runc', poolSize: 0 })]],
  [['windlass runc pooled'], async () => [await createShim(input, { ociRuntime: 'runc', poolSize: 16 })]],
  [['docker'], () => createDocker(input)],
  [['podman'], async () => [await createPodman(input)]],
  [['containerd'], async () => [await createContainerd(input)]],
  [['bare runc'], async () => [await createBare(input, 'runc')]],
  [['bare crun'], async () => [await createBare(input, 'crun')]],
];

const peers: Peer[] = [];
const missing: string[] = [];
const samples = new Map<Peer, Record<Measure, number[]>>();
const load = loadavg()[0] ?? 0;
let turn = { wallMs: 0, cpuMs: 0 };
try {
  for (const [names, make] of makers) {
    if (!names.some(isWanted)) continue;
    try {
      peers.push(...(await make()));
    } catch (error) {
      if (!(error instanceof PeerMissing)) throw error;
      missing.push(`${names.join(', ')}: ${error.message}`);
    }
  }
  for (const peer of peers) {
    samples.set(peer, { start: [], exec: [], remove: [], burst: [], burstRemove: [] });
    // One of each untimed, so that caches are warm.
    await peer.start('warm');
    await peer.execTrue?.('warm');
    await peer.remove('warm');
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const peer of peers) {
      const times = samples.get(peer);
      const name = `single-${round}`;
      await waitForQuiet();
      times?.start.push(await timed(() => peer.start(name)));
      if (peer.execTrue) {
        await waitForQuiet();
        times?.exec.push(await timed(() => peer.execTrue?.(name) ?? Promise.resolve()));
      }
      times?.remove.push(await timed(() => peer.remove(name)));
    }
  }
  for (let round = 0; round < bursts; round += 1) {
    for (const peer of peers) {
      const times = samples.get(peer);
      const names = Array.from({ length: burst }, (_, index) => `burst-${round}-${index}`);
      await waitForQuiet();
      // Only of the starts: what a shim does at rest, when it gives memory back, keeps nobody waiting.
      if (isShim(peer)) await peer.longestTurn();
      times?.burst.push((await timed(() => inFlight(width, names, peer.start))) / burst);
      if (isShim(peer)) {
        const { wallMs, cpuMs } = await peer.longestTurn();
        turn = { wallMs: Math.max(turn.wallMs, wallMs), cpuMs: Math.max(turn.cpuMs, cpuMs) };
      }
      await waitForQuiet();
      times?.burstRemove.push((await timed(() => inFlight(width, names, peer.remove))) / burst);
    }
  }
} finally {
  for (const peer of peers) await peer.close();
}

const median = (peer: Peer, measure: Measure): number => summarise(samples.get(peer)?.[measure] ?? []).medianMs;
const reference = peers.find(({ name }) => name === 'docker API');
const cell = (peer: Peer, measure: Measure, showP99: boolean): string => {
  const { medianMs, p99Ms, count } = summarise(samples.get(peer)?.[measure] ?? []);
  if (count === 0) return '';
  const ratio = reference ? ` (${(median(reference, measure) / medianMs).toFixed(1)}x)` : '';
  return `${medianMs.toFixed(1)}${showP99 ? ` / ${p99Ms.toFixed(0)}` : ''}${ratio}`;
};
const distribution = /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
console.log(
  `${cpus().length} x ${cpus()[0]?.model.trim()}, ${distribution}, Linux ${release()}; ${rounds} rounds, ${bursts} bursts ` +
    `of ${burst} with ${width} in flight; load ${load.toFixed(1)} before, ${(loadavg()[0] ?? 0).toFixed(1)} after.\n`,
);
console.log(
  renderTable(
    [
      ...['ms, median / p99 (times faster than docker API)', 'start one', 'exec true', 'stop + remove one'],
      ...[`start ${burst}, per container`, `stop + remove ${burst}, per container`],
    ],
    peers.map((peer) => [peer.name, ...MEASURES.map((measure, index) => cell(peer, measure, index < 3))]),
  ),
);
for (const reason of missing) console.log(`\nLeft out: ${reason}.`);
if (bursts > 0 && peers.some(isShim))
  console.log(
    `\nLongest turn of a shim's event loop while it starts ${burst}: ${turn.cpuMs.toFixed(1)} ms of processor time, ${turn.wallMs.toFixed(1)} ms by the clock.`,
  );
if (!values['skip-memory']) console.log(`\n${await measureMemory(input, burst)}`);
