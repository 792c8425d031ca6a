// The filter that crun compiles for the first container of a profile, and the shorter one that the others are given.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { decodeProgram } from '../../../runtime-shim/oci-runtime/filter-program.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { runFilter } from '../../support/run-filter.ts';
import { startTestShim } from '../../support/shim.ts';

test('the second container of a profile gets a shorter filter, which decides the same, and an exec has it too', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'crun')) return;
  await using shim = await startTestShim({ flags: ['--oci-runtime', 'crun'] });
  const sleep = { command: ['sleep', '1000'] };
  const filterOf = async (name: string) => {
    const id = await shim.run(name, sleep);
    assert.match(await shim.exec(id, 'grep', 'Seccomp:', '/proc/self/status'), /2$/);
    const { exitCode } = await shim.cri.runtime.execSync({
      containerId: id,
      cmd: ['unshare', '-m', 'true'],
      timeout: 20,
    });
    assert.notEqual(exitCode, 0);
    return decodeProgram(readFileSync(join(paths.shimState(shim.instance), 'runtime', id, 'seccomp.bpf')));
  };
  const [first, second] = [await filterOf('first'), await filterOf('second')];
  assert.ok(second.length < first.length, `${first.length} -> ${second.length}`);
  const numbers = Array.from({ length: 1200 }, (_, index) => [index, 0x40000000 + index]).flat();
  // Of x64, i386, arm64, arm and one that nobody knows.
  for (const architecture of [0xc000003e, 0x40000003, 0xc00000b7, 0x40000028, 1])
    for (const number of [...numbers, 2 ** 31, 2 ** 32 - 1])
      // Arguments that profiles look at: families of sockets, personalities, flags of clone().
      for (const word of [0, 8, 16, 40, 0x20000, 0x20008, 0x7e020000, 0x10000000, 0xffffffff]) {
        const call = { architecture, number, words: Array.from({ length: 12 }, (_, index) => (index % 2 ? 0 : word)) };
        const [wanted, found] = [runFilter(first, call), runFilter(second, call)];
        if (found !== wanted) assert.fail(`${JSON.stringify(call)}: ${found} in place of ${wanted}`);
      }
});
