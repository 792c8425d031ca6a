// Asks the builders of this machine what they make of each Dockerfile of the corpus, and writes that down for the tests.
//   node_modules/.bin/node scripts/record-build-facts.ts [--only <regular expression of names>] [--peers docker,buildah]
// Asked are dockerd (its client from before version 23 too), buildah, and buildkitd with buildctl, whichever the PATH has.
// Each runs on folders of its own and is stopped afterwards. What a builder that is missing said before stays.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { startBuildah } from '../bench/build/peers/buildah.ts';
import { startBuildkit } from '../bench/build/peers/buildkit.ts';
import { startDockerPeers } from '../bench/build/peers/docker.ts';
import { BuildFailed, type BuildPeer } from '../bench/build/peers/peer.ts';
import { PeerMissing } from '../bench/runtime/peer.ts';
import { makeBaseImages } from '../test/support/build/base-images.ts';
import { PEERS, readCases, writeContext, type BuildCase, type PeerId } from '../test/support/build/corpus.ts';
import { layTree, type FileTree } from '../test/support/build/file-tree.ts';
import {
  factsOf,
  historyOf,
  readImageArchive,
  type HistoryFacts,
  type ImageFacts,
} from '../test/support/build/image-facts.ts';
import { readRecorded, writeRecorded, type Outcome, type RecordedCase } from '../test/support/build/recorded.ts';

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, peers: { type: 'string', default: 'docker,buildkit,buildah' } },
});

type Answer = { readonly facts: ImageFacts; readonly history: HistoryFacts } | { readonly failure: string };

const images = makeBaseImages();
const bases: Record<BuildCase['base'], FileTree> = {
  busybox: layTree(images.find(({ name }) => name === 'busybox')?.image.tars ?? []),
  scratch: new Map(),
};
const cases = readCases().filter(({ name }) => new RegExp(values.only).test(name));
const root = mkdtempSync(join(tmpdir(), 'windlass-build-facts-'));
try {
  for (const start of [startDockerPeers, startBuildkit, startBuildah]) {
    const peers = await startPeers(start);
    try {
      for (const buildCase of cases) {
        for (const peer of peers) record(buildCase.name, peer, await ask(peer, buildCase));
      }
    } finally {
      for (const peer of peers) await peer.close();
    }
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}

async function startPeers(
  start: (bases: typeof images) => Promise<BuildPeer | readonly BuildPeer[]>,
): Promise<readonly BuildPeer[]> {
  const name = start.name.replace('start', '').replace('Peers', '').toLowerCase();
  if (!values.peers.split(',').includes(name)) return [];
  try {
    return [await start(images)].flat();
  } catch (error) {
    if (!(error instanceof PeerMissing)) throw error;
    console.log(`${name} is left out: ${error.message}`);
    return [];
  }
}

async function ask(peer: BuildPeer, buildCase: BuildCase): Promise<Answer> {
  const folder = mkdtempSync(join(root, 'case-'));
  try {
    const context = join(folder, 'context');
    mkdirSync(context);
    writeContext(buildCase, context);
    const secrets: Record<string, string> = {};
    for (const [id, value] of Object.entries(buildCase.secrets)) {
      writeFileSync((secrets[id] = join(folder, id)), value);
    }
    const tag = `windlass.local/${buildCase.name}:facts`;
    const { dockerfile, target, args, labels } = buildCase;
    await peer.build({ folder: context, dockerfile, target, args, labels, secrets, tag });
    const archive = join(folder, 'image.tar');
    await peer.save(tag, archive);
    const image = readImageArchive(archive);
    return { facts: factsOf(image, bases[buildCase.base]), history: historyOf(image) };
  } catch (error) {
    if (!(error instanceof BuildFailed)) throw error;
    return { failure: lastWords(error.message, folder) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts one answer in the place of the peer's former one, beside those that are the same. */
function record(name: string, peer: BuildPeer, answer: Answer): void {
  const before: RecordedCase = readRecorded(name) ?? { peers: {}, outcomes: [], history: {} };
  const rest = before.outcomes
    .map((outcome) => ({ ...outcome, of: outcome.of.filter((id) => id !== peer.id) }))
    .filter(({ of }) => of.length > 0);
  const said = 'failure' in answer ? { failure: answer.failure } : answer.facts;
  const same = rest.find((outcome) => isDeepStrictEqual({ ...outcome, of: [] }, { of: [], ...said }));
  const outcomes: Outcome[] =
    same === undefined
      ? [...rest, { of: [peer.id], ...said }]
      : rest.map((outcome) =>
          outcome === same ? { ...outcome, of: [...outcome.of, peer.id].sort(inOrder) } : outcome,
        );
  const { [peer.id]: _, ...history } = before.history;
  writeRecorded(name, {
    peers: sorted({ ...before.peers, [peer.id]: peer.version }),
    outcomes: outcomes.toSorted((a, b) => inOrder(a.of[0] ?? '', b.of[0] ?? '')),
    history: sorted('failure' in answer ? history : { ...history, [peer.id]: answer.history }),
  });
  console.log(`${name}: ${peer.id}${'failure' in answer ? ` failed: ${answer.failure}` : ''}`);
}

function inOrder(a: string, b: string): number {
  return PEERS.indexOf(a as PeerId) - PEERS.indexOf(b as PeerId);
}

function sorted<T>(values: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(values).toSorted(([a], [b]) => inOrder(a, b)));
}

/** The line that says why, without names that are new each time. */
function lastWords(output: string, folder: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const words = lines.findLast((line) => /error|failed|cannot|invalid|unknown/i.test(line)) ?? lines.at(-1) ?? '';
  return words
    .replaceAll(folder, '')
    .replaceAll(/\b(?:[0-9a-f]{12,64}|[a-z0-9]{25})\b/g, '<id>')
    .replaceAll(/\/(?:var\/)?tmp\/[^ :"]*/g, '<folder>')
    .replace(/^time="[^"]*" level=\w+ msg=/, '');
}
