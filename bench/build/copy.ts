// What the file side of a build takes: COPY of many small files and of one large one, cold and with nothing changed.
//   node bench/build/copy.ts [folder]     the folder is on the disk that is measured; /var/tmp unless said
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuilderFiles, SourceTree } from '../../builder/files/builder-files.ts';
import { createBuilderFiles } from '../../builder/files/create-builder-files.ts';
import type { CopyOperation } from '../../builder/operations.ts';
import { kernelMounts } from '../../runtime-shim/snapshots/overlay-mounts.ts';
import { renderTable, timed } from '../measure.ts';

const SMALL_FILES = 20_000;
const LARGE_BYTES = 1024 ** 3;

const operation: CopyOperation = {
  kind: 'copy',
  instruction: 'COPY',
  from: { kind: 'context' },
  sources: ['.'],
  files: [],
  destination: '/srv/',
  link: false,
  parents: false,
  exclude: [],
  keepGitDir: false,
};

function makeSmall(root: string): void {
  for (let folder = 0; folder < SMALL_FILES / 100; folder += 1) {
    mkdirSync(join(root, `folder-${folder}`));
    for (let file = 0; file < 100; file += 1) {
      writeFileSync(join(root, `folder-${folder}`, `file-${file}.txt`), `content ${folder} ${file}\n`.repeat(20));
    }
  }
}

function makeLarge(root: string): void {
  const piece = Buffer.alloc(16 * 1024 * 1024);
  for (let at = 0; at < piece.length; at += 4) piece.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  for (let done = 0; done < LARGE_BYTES; done += piece.length) {
    writeFileSync(join(root, 'large'), piece, { flag: 'a' });
  }
}

async function copy(files: BuilderFiles, folder: string, tree: SourceTree, signal: AbortSignal): Promise<string[]> {
  const work = mkdtempSync(join(folder, 'work-'));
  const [lower, upper, overlay, root] = ['lower', 'upper', 'overlay', 'root'].map((name) => join(work, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const made of [lower, upper, overlay, root]) mkdirSync(made);
  let resolved = await files.resolveCopy(operation, tree, { workDir: work, signal });
  const resolve = await timed(async () => {
    resolved = await files.resolveCopy(operation, tree, { workDir: work, signal });
  });
  kernelMounts.mountOverlay({ lowerDirs: [lower], upperDir: upper, workDir: overlay, target: root });
  let apply: number;
  try {
    apply = await timed(() => files.applyCopy(resolved, root, { workDir: work, signal }));
  } finally {
    kernelMounts.unmount(root);
  }
  const target = join(work, 'layer.tar');
  const layer = await timed(() =>
    files.writeLayer(upper, target, { clampSeconds: 1_700_000_000, flush: false, signal }),
  );
  const start = performance.now();
  execFileSync('sh', ['-c', 'tar -C "$1" -cf - . | tee "$2" | sha256sum', 'sh', upper, join(work, 'tar.tar')]);
  const tar = performance.now() - start;
  return [resolve, apply, layer, tar].map((ms) => ms.toFixed(0));
}

const folder = mkdtempSync(join(process.argv[2] ?? '/var/tmp', 'windlass-bench-copy-'));
const rows: string[][] = [];
const { signal } = new AbortController();
try {
  await using files = createBuilderFiles();
  for (const [name, make] of [
    ['20,000 files', makeSmall],
    ['1 GB', makeLarge],
  ] as const) {
    const root = join(folder, name.replace(/\W+/g, '-'));
    mkdirSync(root);
    make(root);
    const tree: SourceTree = { root, label: 'the build context', isContext: true, ignore: [] };
    await using cold = createBuilderFiles();
    const first = await timed(() => cold.resolveCopy(operation, tree, { workDir: folder, signal }));
    for (let round = 0; round < 3; round += 1)
      rows.push([name, first.toFixed(0), ...(await copy(files, folder, tree, signal))]);
  }
  console.log(renderTable(['ms', 'first look', 'nothing changed', 'apply', 'layer', 'tar, tee and sha256sum'], rows));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
