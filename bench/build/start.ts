// A build of ten instructions (3 RUN, 2 COPY), or of one COPY (20,000 small files, or one of 1 GB), cold and from the
// cache, beside the builders that the machine has: docker's legacy builder and its BuildKit, BuildKit by itself, buildah.
//   node_modules/.bin/node bench/build/start.ts [--project steps|small-files|large-file] [--rounds 10]
// Ours is the shim's BuildImage call from request to answer, theirs the command line as people type it. In each round
// everybody gets the same folder, whose Dockerfile is new from its second instruction on, and whose files are too where a
// COPY is what is measured; what a cold build starts from is there. Rounds alternate, so that what else the machine does hits all alike: compare the ratios of one run.
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeBaseImages } from '../../test/support/build/base-images.ts';
import { build, importImages } from '../../test/support/build/build.ts';
import { startTestShim } from '../../test/support/shim.ts';
import { renderTable, summarise, timed } from '../measure.ts';
import { PeerMissing } from '../runtime/peer.ts';
import { waitForQuiet } from '../runtime/quiet.ts';
import { startBuildah } from './peers/buildah.ts';
import { startBuildkit } from './peers/buildkit.ts';
import { startDockerPeers } from './peers/docker.ts';
import type { BuildPeer } from './peers/peer.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, project: { type: 'string', default: 'steps' } },
});
const rounds = Number(values.rounds);

const STEPS = [
  'WORKDIR /app',
  'COPY package.json .',
  'RUN mkdir node_modules && cp package.json node_modules/',
  'COPY src ./src',
  'RUN cat src/*.js >bundle.js',
  'RUN rm -r src && chmod 444 bundle.js',
  'EXPOSE 8080',
  'CMD ["cat", "bundle.js"]',
];

interface Project {
  /** What follows FROM and the instruction that is another one in each round. */
  readonly instructions: readonly string[];
  /** Before each round; a project of one COPY writes other content each time, or the copied layer came from the cache. */
  writeFiles(folder: string, round: number): void;
}

const PROJECTS: Readonly<Record<string, Project>> = {
  steps: { instructions: STEPS, writeFiles: writeService },
  'small-files': { instructions: ['COPY files /srv/'], writeFiles: writeSmallFiles },
  'large-file': { instructions: ['COPY large /srv/'], writeFiles: writeLargeFile },
};
const project = PROJECTS[values.project];
if (project === undefined) throw new Error(`--project: want one of ${Object.keys(PROJECTS).join(', ')}`);

interface Builder {
  readonly name: string;
  build(folder: string, tag: string): Promise<void>;
}

const images = makeBaseImages().filter(({ name }) => name === 'busybox');
const root = mkdtempSync(join(tmpdir(), 'windlass-bench-build-'));
const peers: BuildPeer[] = [];
const durations = new Map<string, number[]>();
const load = loadavg()[0]?.toFixed(1);
const shim = await startTestShim();
try {
  for (const start of [startDockerPeers, startBuildkit, startBuildah]) {
    try {
      peers.push(...[await start(images)].flat());
    } catch (error) {
      if (!(error instanceof PeerMissing)) throw error;
      console.log(`left out: ${error.message}`);
    }
  }
  await importImages(shim, images);
  const builders: Builder[] = [
    {
      name: 'windlass',
      async build(hostPath, tag) {
        const { image, failure } = await build(shim, { id: tag, hostPath, references: [tag] });
        if (!image) throw new Error(`the build failed: ${failure?.message}`);
      },
    },
    ...peers.map((peer) => ({
      name: peer.version,
      build: (context: string, tag: string) => peer.build({ folder: context, dockerfile: 'Dockerfile', tag }),
    })),
  ];
  const folder = join(root, 'project');
  mkdirSync(folder);
  // The first build of each warms programs and page cache, and is not counted.
  for (let round = -1; round < rounds; round += 1) {
    writeDockerfile(folder, project, round);
    project.writeFiles(folder, round);
    for (const builder of round % 2 === 0 ? builders : builders.toReversed()) {
      for (const what of ['cold', 'cached'] as const) {
        await waitForQuiet();
        const ms = await timed(() => builder.build(folder, `windlass.local/bench:r${round}`));
        const key = `${what}|${builder.name}`;
        if (round >= 0) durations.set(key, [...(durations.get(key) ?? []), ms]);
      }
    }
  }
  report(builders);
} finally {
  for (const peer of peers) await peer.close();
  await shim[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
}

function writeDockerfile(folder: string, { instructions }: Project, round: number): void {
  const lines = ['FROM busybox', `ENV ROUND=${round}`, ...instructions];
  writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
}

/** Files as a small service has them. */
function writeService(folder: string): void {
  mkdirSync(join(folder, 'src'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "name": "service" }\n');
  for (let index = 0; index < 20; index += 1)
    writeFileSync(join(folder, 'src', `file${index}.js`), `export const value = ${index};\n`.repeat(50));
}

function writeSmallFiles(folder: string, round: number): void {
  for (let index = 0; index < 20_000; index += 1) {
    const path = join(folder, 'files', `folder${Math.floor(index / 100)}`);
    if (index % 100 === 0) mkdirSync(path, { recursive: true });
    writeFileSync(join(path, `file${index}.txt`), `content of ${index} in round ${round}\n`.repeat(20));
  }
}

function writeLargeFile(folder: string): void {
  const piece = randomBytes(1024 * 1024);
  const path = join(folder, 'large');
  rmSync(path, { force: true });
  for (let count = 0; count < 1024; count += 1) writeFileSync(path, piece, { flag: 'a' });
}

function report(builders: readonly Builder[]): void {
  const median = (what: string, name: string): number => summarise(durations.get(`${what}|${name}`) ?? []).medianMs;
  const rows = builders.map(({ name }) => [
    name,
    ...['cold', 'cached'].flatMap((what) => [
      `${median(what, name).toFixed(0)} ms`,
      `${(median(what, name) / median(what, 'windlass')).toFixed(1)}x`,
    ]),
  ]);
  console.log(`${cpus().length} x ${cpus()[0]?.model ?? ''}, Linux ${release()}; load at the start ${load}`);
  console.log(`${rounds} rounds, medians\n`);
  console.log(renderTable(['', 'cold', '/ windlass', 'cached', '/ windlass'], rows));
}
