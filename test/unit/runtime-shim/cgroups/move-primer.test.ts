import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createMovePrimer, moveSelf, procsFile, wholeMounts } from '../../../../runtime-shim/cgroups/move-primer.ts';
import { requireRoot } from '../../../support/require.ts';
import { waitFor } from '../../../support/wait.ts';

const MOUNTS = [
  '30 20 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
  '31 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
  '32 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
].join('\n');

test('procsFile() names the group of the first hierarchy that is mounted', () => {
  const mounts = wholeMounts(MOUNTS);
  assert.equal(procsFile('9:name=systemd:/a:b\n4:memory:/m\n', mounts), '/sys/fs/cgroup/systemd/a:b/cgroup.procs');
  assert.equal(procsFile('3:freezer:/f\n4:memory:/m\n', mounts), '/sys/fs/cgroup/memory/m/cgroup.procs');
  assert.equal(procsFile('0::/only\n', mounts), '/sys/fs/cgroup/unified/only/cgroup.procs');
  assert.equal(procsFile('3:freezer:/f\n', mounts), undefined);
});

test('wholeMounts() leaves out a part of a hierarchy, where the same path is another group', () => {
  assert.equal(procsFile('4:memory:/m\n', wholeMounts(MOUNTS.replace('0:26 /', '0:26 /part'))), undefined);
});

test('prime() moves again for a while, one move at a time, and ends by itself', async () => {
  let [moves, atOnce, most, lookups] = [0, 0, 0, 0];
  const primer = createMovePrimer({
    findFile: () => {
      lookups += 1;
      return lookups > 4 ? undefined : '/file';
    },
    async move(file) {
      assert.equal(file, '/file');
      most = Math.max(most, ++atOnce);
      await Promise.resolve();
      atOnce -= 1;
      moves += 1;
    },
  });
  // On a busy machine its time can be over before the fifth look: it is asked again until then.
  const isThrough = (): boolean => {
    if (lookups < 5) primer.prime();
    return lookups === 5;
  };
  await waitFor(isThrough, { what: 'the moves' });
  assert.deepEqual([moves, most], [4, 1]);
  primer.prime();
  assert.equal(lookups, 6, 'a later call starts anew');
});

test('prime() gives up for good when this process may not be moved', async () => {
  let tries = 0;
  const primer = createMovePrimer({
    findFile: () => '/file',
    move: async () => {
      tries += 1;
      throw Object.assign(new Error('refused'), { code: 'EACCES' });
    },
  });
  primer.prime();
  // The failure has been seen when the turn is over.
  await new Promise(setImmediate);
  primer.prime();
  assert.equal(tries, 1);
});

test('prime() leaves this process in the groups it is in', async (t) => {
  if (!requireRoot(t)) return;
  const before = readFileSync('/proc/self/cgroup', 'utf8');
  let moved = 0;
  const primer = createMovePrimer({
    async move(file) {
      await moveSelf(file);
      moved += 1;
    },
  });
  const hasMovedTwice = (): boolean => {
    // On a busy machine one move can take as long as it goes on.
    primer.prime();
    return moved > 1;
  };
  await waitFor(hasMovedTwice, { what: 'two moves' });
  assert.equal(readFileSync('/proc/self/cgroup', 'utf8'), before);
});
