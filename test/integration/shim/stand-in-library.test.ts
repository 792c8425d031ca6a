// The library that crun and conmon are started with in place of one that they have no use for here.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { readImports } from '../../../runtime-shim/oci-runtime/elf-imports.ts';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import { createStandInLibrary } from '../../../runtime-shim/oci-runtime/stand-in-library.ts';
import { requireFeature, requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim } from '../../support/shim.ts';

const LIBRARY = 'libsystemd.so.0';

/** A copy of the program in a folder of its own; undefined where it is linked without the library. */
function copyProgram(t: TestContext, name: string): { folder: string; program: string } | undefined {
  if (!requirePrograms(t, name)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-test-stand-in-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, name);
  copyFileSync(findProgram(name) ?? '', program);
  chmodSync(program, 0o755);
  const needs = readImports(readFileSync(program), LIBRARY) ?? [];
  return requireFeature(t, needs.length > 0, `a ${name} linked with ${LIBRARY}`) ? { folder, program } : undefined;
}

const loadedBy = (program: string, env: Readonly<Record<string, string>>): string =>
  execFileSync(program, [], { env: { ...env, LD_TRACE_LOADED_OBJECTS: '1' }, encoding: 'utf8' });

for (const name of ['conmon', 'crun']) {
  test(`${name} starts with the stand-in, and loads nothing of what the real one needs`, (t) => {
    const copy = copyProgram(t, name);
    if (!copy) return;
    const file = join(copy.folder, 'lib', LIBRARY);
    const env = createStandInLibrary([copy.program], file).env();
    assert.deepEqual(env, { LD_PRELOAD: file });
    const [without, loaded] = [loadedBy(copy.program, {}), loadedBy(copy.program, env)];
    assert.ok(loaded.includes(file), loaded);
    assert.ok(loaded.split('\n').length < without.split('\n').length, loaded);
    assert.ok(!/=> \S*libsystemd/.test(loaded), loaded);
  });
}

test('a program that was replaced gets another stand-in, or none; a stand-in that was deleted is made again', (t) => {
  const copy = copyProgram(t, 'conmon');
  if (!copy) return;
  const file = join(copy.folder, LIBRARY);
  const standIn = createStandInLibrary([copy.program], file);
  assert.deepEqual(standIn.env(), { LD_PRELOAD: file });
  rmSync(file);
  assert.deepEqual(standIn.env(), { LD_PRELOAD: file });
  assert.match(loadedBy(copy.program, standIn.env()), new RegExp(file));
  rmSync(copy.program);
  writeFileSync(copy.program, '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  assert.deepEqual(standIn.env(), {});
});

test('there is none where it would not be loaded, and none that a program complains about', (t) => {
  const copy = copyProgram(t, 'conmon');
  if (!copy) return;
  assert.deepEqual(createStandInLibrary([copy.program], join(copy.folder, 'with space', LIBRARY)).env(), {});
  assert.deepEqual(createStandInLibrary([copy.program], join(copy.folder, LIBRARY), 'sparc').env(), {});
  // A file in place of the folder: it cannot be written.
  assert.deepEqual(createStandInLibrary([copy.program], join(copy.program, LIBRARY)).env(), {});
});

test('a container and what runs in it know nothing of it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  const id = await shim.run('plain', { command: ['sleep', '1000'] });
  for (const environment of ['/proc/1/environ', '/proc/self/environ'])
    assert.doesNotMatch(await shim.exec(id, 'cat', environment), /LD_PRELOAD/);
  const conmon = readFileSync(join(paths.shimState(shim.instance), 'b', id, 'conmon.pid'), 'utf8');
  const maps = readFileSync(`/proc/${conmon.trim()}/maps`, 'utf8');
  const file = paths.standInLibrary(shim.instance);
  if (!requireFeature(t, maps.includes('libsystemd'), `a conmon linked with ${LIBRARY}`)) return;
  assert.deepEqual(
    new Set(maps.split('\n').flatMap((line) => /\S*libsystemd\S*/.exec(line)?.[0] ?? [])),
    new Set([file]),
  );
});
