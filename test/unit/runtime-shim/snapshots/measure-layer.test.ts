import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { measureLayer } from '../../../../runtime-shim/snapshots/measure-layer.ts';
import { createMeasureThread } from '../../../../runtime-shim/snapshots/measure-thread.ts';
import { isSmallTree, removeTree } from '../../../../runtime-shim/snapshots/remove-tree.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'windlass-measure-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const measure = (options: { pids?: number[]; bytes?: number; inodes?: number } = {}) =>
  measureLayer({ upperDir: folder, mergedDir: folder, pids: [], ...options });
/** Deeper than a path can name: each folder is made from the one before, which is open. */
function nest(depth: number): void {
  let fd = openSync(folder, 'r');
  for (let count = 0; count < depth; count += 1) {
    const inner = `/proc/self/fd/${fd}/${'d'.repeat(100)}`;
    mkdirSync(inner);
    const next = openSync(inner, 'r');
    closeSync(fd);
    fd = next;
  }
  writeFileSync(`/proc/self/fd/${fd}/file`, 'x');
  closeSync(fd);
}
const blocksOf = (...paths: string[]): number => paths.reduce((sum, path) => sum + statSync(path).blocks * 512, 0);

test('measureLayer() counts blocks and inodes, linked files once, the folder itself not', () => {
  mkdirSync(join(folder, 'd'));
  writeFileSync(join(folder, 'd', 'file'), Buffer.alloc(100_000, 1));
  linkSync(join(folder, 'd', 'file'), join(folder, 'link'));
  assert.deepEqual(measure(), { usedBytes: blocksOf(join(folder, 'd'), join(folder, 'link')), inodes: 2 });
});

test('measureLayer() ends as soon as a limit is exceeded', () => {
  for (let index = 0; index < 50; index += 1) writeFileSync(join(folder, String(index)), Buffer.alloc(4096, 1));
  assert.equal(measure({ inodes: 10 }).inodes, 11);
  assert.ok(measure({ bytes: 10 * 4096 }).inodes < 50);
});

test('measureLayer() finds what lies below names that are no text, and deeper than a path can say', () => {
  const odd = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]);
  mkdirSync(odd);
  writeFileSync(Buffer.concat([odd, Buffer.from('/file')]), 'x');
  nest(60);
  assert.equal(measure().inodes, 2 + 61);
});

test('measureLayer() counts deleted files that a process of the container has open', () => {
  const file = join(folder, 'gone');
  const fd = openSync(file, 'w');
  try {
    writeSync(fd, Buffer.alloc(100_000, 1));
    rmSync(file);
    assert.equal(measure().inodes, 0);
    const { usedBytes, inodes } = measure({ pids: [process.pid, 2 ** 22 - 1] });
    assert.ok(inodes >= 1 && usedBytes >= 100_000);
  } finally {
    closeSync(fd);
  }
});

test('createMeasureThread() answers one question after another, and goes on after one that failed or was given up', async () => {
  writeFileSync(join(folder, 'file'), 'x');
  await using thread = createMeasureThread();
  const { signal } = new AbortController();
  const layer = { upperDir: folder, mergedDir: folder, pids: [] };
  const answers = await Promise.all([thread.measure(layer, signal), thread.measure(layer, signal)]);
  assert.deepEqual(
    answers.map(({ inodes }) => inodes),
    [1, 1],
  );
  const given = thread.measure(layer, AbortSignal.abort(new Error('given up')));
  await assert.rejects(given, /given up/);
  await assert.rejects(thread.measure({ ...layer, upperDir: '\0' }, signal), /null bytes/);
  assert.equal((await thread.measure(layer, signal)).inodes, 1);
});

test('removeTree() deletes many files, odd names and what is nested beyond the longest path; absent is fine', async () => {
  for (const make of [
    () => nest(60),
    () => execFileSync('sh', ['-c', 'mkdir many && cd many && seq 3000 | xargs touch'], { cwd: folder }),
    () =>
      mkdirSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff]), Buffer.from('/d')]), {
        recursive: true,
      }),
  ]) {
    mkdirSync(folder, { recursive: true });
    make();
    assert.equal(await isSmallTree(folder), false);
    await removeTree(folder);
    assert.equal(existsSync(folder), false);
  }
  assert.equal(await isSmallTree(folder), true);
  await removeTree(folder);
});
