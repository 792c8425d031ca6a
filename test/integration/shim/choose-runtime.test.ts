// Which runtime is chosen where one or both of them are missing or do not work.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { describeInstance, paths } from '../../../lib/instance.ts';
import { silentLogger } from '../../../lib/log.ts';
import { createSpawner } from '../../../runtime-shim/host/spawn.ts';
import { chooseOciRuntime } from '../../../runtime-shim/oci-runtime/choose-runtime.ts';
import { purgeInstance } from '../../../runtime-shim/purge.ts';
import { requireRoot } from '../../support/require.ts';

/** The choice on a host with these programs; `crun` is one that fails with a message. */
async function choose(t: TestContext, programs: readonly string[], setting = 'auto'): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'windlass-choose-'));
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  t.after(async () => {
    await purgeInstance(instance);
    rmSync(root, { recursive: true, force: true });
  });
  const crun = join(root, 'crun');
  writeFileSync(crun, '#!/bin/sh\necho "no such kernel feature" >&2\nexit 3\n', { mode: 0o755 });
  const find = (name: string): string | undefined =>
    programs.includes(name) ? (name === 'crun' ? crun : `/usr/sbin/${name}`) : undefined;
  try {
    return await chooseOciRuntime(setting, { instance, spawner: createSpawner(), log: silentLogger(), find });
  } catch (error) {
    // What failed is tried anew at the next start.
    assert.ok(!existsSync(join(paths.shimState(instance), 'oci-runtime')));
    throw error;
  }
}

test('a crun that fails its trial is not used where runc is installed', async (t) => {
  if (!requireRoot(t)) return;
  assert.equal(await choose(t, ['runc', 'crun']), 'runc');
  assert.equal(await choose(t, ['runc']), 'runc');
  assert.equal(await choose(t, [], '/opt/own'), '/opt/own');
});

test('without a runtime that works the error names both and says how to get one', async (t) => {
  if (!requireRoot(t)) return;
  await assert.rejects(choose(t, ['crun']), {
    reason: 'Unavailable',
    message: /crun .*does not work.*runc is not installed.*apt-get install runc.*--oci-runtime.*no such kernel feature/,
  });
  await assert.rejects(choose(t, []), {
    reason: 'Unavailable',
    message: /neither runc nor crun is installed.*apt-get install runc/,
  });
});
