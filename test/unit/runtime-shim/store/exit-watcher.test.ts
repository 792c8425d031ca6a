import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync, type FSWatcher } from 'node:fs';
import { EventEmitter } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openExitFiles, type ExitFiles } from '../../../../runtime-shim/store/exit-watcher.ts';
import { waitFor } from '../../../support/wait.ts';

const id = (number: number): string => number.toString(16).padStart(64, '0');

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-exits-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** As conmon does: written beside, then renamed. */
function writeExit(folder: string, containerId: string, code = 0): void {
  writeFileSync(join(folder, `${containerId}.tmp`), String(code));
  renameSync(join(folder, `${containerId}.tmp`), join(folder, containerId));
}

function watch(t: TestContext, files: ExitFiles): { seen: Set<string>; unwatched: unknown[]; ticks: () => number } {
  const stop = new AbortController();
  const seen = new Set<string>();
  const unwatched: unknown[] = [];
  let ticks = 0;
  const run = files.run(
    {
      onExit: (containerId) => seen.add(containerId),
      onTick: () => (ticks += 1),
      onUnwatched: (error) => unwatched.push(error),
    },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await run;
  });
  return { seen, unwatched, ticks: () => ticks };
}

test('run() tells of files that were there before it', async (t) => {
  const folder = makeFolder(t);
  writeExit(folder, id(1), 7);
  const files = openExitFiles(folder);
  const { seen } = watch(t, files);
  assert.deepEqual([[...seen], files.read(id(1))], [[id(1)], 7]);
});

test('run() finds a file whose notification was lost because the queue of the kernel ran over', async (t) => {
  const folder = makeFolder(t);
  const { seen } = watch(t, openExitFiles(folder));
  // The loop is busy here, so nothing is read from the queue (16,384 events by default) while it is flooded.
  writeFileSync(join(folder, 'noise-a'), '');
  for (let round = 0; round < 20_000; round += 1) {
    renameSync(join(folder, 'noise-a'), join(folder, 'noise-b'));
    renameSync(join(folder, 'noise-b'), join(folder, 'noise-a'));
  }
  for (let number = 0; number < 50; number += 1) writeExit(folder, id(number));
  await waitFor(() => seen.size === 50, { what: 'all exit files' });
});

test('run() does without notifications when the host has none to give, and when they break', async (t) => {
  const folder = makeFolder(t);
  const none = watch(
    t,
    openExitFiles(folder, () => {
      throw Object.assign(new Error('ENOSPC: no watches left'), { code: 'ENOSPC' });
    }),
  );
  const emitter = new EventEmitter() as FSWatcher;
  emitter.close = () => undefined;
  const broken = watch(
    t,
    openExitFiles(folder, () => emitter),
  );
  emitter.emit('error', new Error('broken'));
  writeExit(folder, id(1));
  await waitFor(() => none.seen.has(id(1)) && broken.seen.has(id(1)), { timeoutMs: 3_000 });
  assert.deepEqual([none.unwatched.length, broken.unwatched.length], [1, 1]);
});

test('run() goes on when the folder is removed under it', async (t) => {
  const folder = makeFolder(t);
  const { seen, ticks } = watch(t, openExitFiles(folder));
  rmSync(folder, { recursive: true });
  const before = ticks();
  await waitFor(() => ticks() > before, { what: 'the next look' });
  writeExit(folder, id(1));
  await waitFor(() => seen.has(id(1)));
});
