import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createContentMemo, identityOf, isSettled } from '../../../../builder/files/content-memo.ts';
import { planCopy } from '../../../../builder/files/plan-copy.ts';
import { createLayerFiles } from '../../../../runtime-shim/host/layer-files.ts';
import { makeCopy } from '../../../support/build-place.ts';
import { waitFor } from '../../../support/wait.ts';

const content = (text: string): { sha256: string; hasXattrs: boolean } => ({ sha256: text, hasXattrs: false });

test('createContentMemo() forgets what was not asked for longest, and can be handed on', () => {
  const memo = createContentMemo();
  for (let index = 0; index < 100_000; index += 1) memo.remember(`${index}`, content(`${index}`));
  assert.deepEqual(memo.find('0'), content('0'));
  memo.remember('new', content('new'));
  assert.deepEqual([memo.find('0')?.sha256, memo.find('1'), memo.find('new')?.sha256], ['0', undefined, 'new']);
  const small = createContentMemo();
  small.remember('a', content('b'));
  assert.deepEqual(createContentMemo(small.pack()).find('a'), content('b'));
});

test('identityOf() tells devices apart in a context alone', () => {
  const stat = statSync('/', { bigint: true });
  const other = Object.assign(Object.create(Object.getPrototypeOf(stat)), stat, { dev: stat.dev + 1n });
  assert.notEqual(identityOf(stat, true), identityOf(other, true));
  assert.equal(identityOf(stat, false), identityOf(other, false));
  const changedMs = Number(stat.ctimeNs / 1_000_000n);
  assert.equal(isSettled(stat, changedMs + 1000), true);
  assert.equal(isSettled(stat, changedMs + 50), false);
  assert.equal(isSettled(stat, changedMs - 1000), false);
});

test('a copy that was looked up before reads no file again, but for one that changed', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-memo-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'd'));
  writeFileSync(join(root, 'd/a'), 'a'.repeat(1000));
  writeFileSync(join(root, 'd/b'), 'b'.repeat(10));
  const tree = { root, label: 'the build context', isContext: true, ignore: [] };
  const memo = createContentMemo();
  const reads = async (): Promise<number> => {
    let read = 0;
    const sources = [{ tree, pattern: 'd', isUnpacked: false }];
    await planCopy(makeCopy({ sources: ['d'] }), sources, {
      calls: createLayerFiles(),
      memo,
      onWork: (_entries, bytes) => void (read += bytes),
    });
    return read;
  };
  assert.equal(await reads(), 1010);
  // Files that were written a moment ago are read until their times can be trusted.
  await waitFor(async () => (await reads()) === 0, { what: 'a look that reads no file' });
  writeFileSync(join(root, 'd/b'), 'B'.repeat(10));
  assert.equal(await reads(), 10);
});
