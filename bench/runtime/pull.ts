// Time to pull and unpack an image that the node has never seen, beside docker, podman, containerd and skopeo + umoci.
//   node_modules/.bin/node bench/runtime/pull.ts [--rounds 5] [--only windlass,docker]
// One registry on loopback serves all. Every round is a new image, and peers take turns within it. Nothing is deleted
// until the end: ext4 avoids inodes that were freed in the last minutes, which makes every file after a deletion dear.
// For the same reason, wait some minutes between two runs, or compare the ratios of one run only.
import { cpus, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import { startTestRegistry } from '../../test/support/registry.ts';
import { renderTable, summarise, timed } from '../measure.ts';
import { createLargeImages } from './large-image.ts';
import { startPullPeers, type PullPeer } from './pull-peers.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, only: { type: 'string', default: '' } },
});
const rounds = Number(values.rounds);
const only = values.only.split(',').filter(Boolean);

interface Sample {
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function measure(peer: PullPeer, reference: string): Promise<Sample> {
  const before = peer.cpuMs();
  const wallMs = await timed(() => peer.pull(reference));
  return { wallMs, cpuMs: peer.cpuMs() - before };
}

const load = loadavg()[0]?.toFixed(1);
await using registry = await startTestRegistry();
const peers = await startPullPeers();
const samples = new Map<string, Sample[]>(peers.map(({ name }) => [name, []]));
const measured = peers.filter(({ name }) => only.length === 0 || only.some((word) => name.includes(word)));
let describedImage = '';
try {
  const make = createLargeImages();
  for (let round = 0; round < rounds; round += 1) {
    const image = await make(round);
    const reference = await registry.push(image, 'bench/large', String(round));
    const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
    describedImage = `${image.layers.length} layers, ${image.files} files, ${megabytes(image.tarBytes)}, ${megabytes(image.blobBytes)} compressed`;
    // Who comes first finds the registry's page cache as the push left it: the order changes from round to round.
    const turn = round % measured.length;
    for (const peer of [...measured.slice(turn), ...measured.slice(0, turn)]) {
      samples.get(peer.name)?.push(await measure(peer, reference));
    }
  }
} finally {
  for (const peer of peers) await peer.close();
}

const results = measured.map(({ name }) => {
  const own = samples.get(name) ?? [];
  const wall = summarise(own.map(({ wallMs }) => wallMs));
  const minMs = Math.min(...own.map(({ wallMs }) => wallMs));
  return { name, minMs, wallMs: wall.medianMs, cpuMs: summarise(own.map(({ cpuMs }) => cpuMs)).medianMs };
});
const ours = results[0];
const cell = (ms: number): string => `${Math.round(ms)} ms`;
const ratio = (theirs: number, mine: number | undefined): string =>
  mine === undefined ? '' : `${(theirs / mine).toFixed(1)}x`;
console.log(`${cpus().length} x ${cpus()[0]?.model.trim()}, Linux ${release()}, load ${load} at the start`);
console.log(`${describedImage}; ${rounds} rounds\n`);
console.log(
  renderTable(
    ['', 'wall: median', 'fastest', 'processor: median', 'wall / ours', 'processor / ours'],
    results.map(({ name, wallMs, minMs, cpuMs }) => [
      name,
      cell(wallMs),
      cell(minMs),
      cell(cpuMs),
      ratio(wallMs, ours?.wallMs),
      ratio(cpuMs, ours?.cpuMs),
    ]),
  ),
);
