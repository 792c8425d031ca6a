import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeInstance, paths } from '../../../lib/instance.ts';
import type { Logger } from '../../../lib/log.ts';
import { readMounts } from '../../../runtime-shim/host/mount.ts';
import { createSpawner } from '../../../runtime-shim/host/spawn.ts';
import { tryRights } from '../../../runtime-shim/oci-runtime/try-rights.ts';
import { purgeInstance } from '../../../runtime-shim/purge.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';

/** Tries on an instance whose folders others may pass through, or not. */
async function tryAt(mode: number, ociRuntime: string) {
  const root = mkdtempSync(join(tmpdir(), 'windlass-rights-'));
  chmodSync(root, mode);
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  for (const folder of [instance.home, paths.shimState(instance)]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  const reasons: string[] = [];
  const log = { info: ({ reason }: { reason: string }) => reasons.push(reason) } as unknown as Logger;
  try {
    const first = await tryRights({ instance, spawner: createSpawner(), log, ociRuntime });
    const tries = reasons.length;
    assert.deepEqual(await tryRights({ instance, spawner: createSpawner(), log, ociRuntime }), first);
    assert.equal(reasons.length, 2 * tries, 'what did not work is tried again');
    assert.deepEqual(readdirSync(instance.home), []);
    assert.deepEqual(readdirSync(paths.shimState(instance)), tries === 0 ? ['rights.json'] : []);
    assert.deepEqual(
      readMounts().filter(({ target }) => target.startsWith(root)),
      [],
    );
    return { rights: first, reasons };
  } finally {
    await purgeInstance(instance);
    rmSync(root, { recursive: true, force: true });
  }
}

for (const ociRuntime of ['crun', 'runc']) {
  test(`tryRights() finds out what ${ociRuntime} can do, and why not, and leaves nothing`, async (t) => {
    if (!requireRoot(t) || !requirePrograms(t, ociRuntime)) return;
    const all = { userNamespaces: true, userNamespacesHostNetwork: true, recursiveReadOnly: true };
    assert.deepEqual(await tryAt(0o711, ociRuntime), { rights: all, reasons: [] });
    // Root of a user namespace cannot get at its root file system here; the rest works.
    const { rights, reasons } = await tryAt(0o700, ociRuntime);
    assert.deepEqual(rights, { ...all, userNamespaces: false, userNamespacesHostNetwork: false });
    assert.match(reasons.join(), /[Pp]ermission denied/);
  });
}
