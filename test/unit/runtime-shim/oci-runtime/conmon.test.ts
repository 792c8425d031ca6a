import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createSpawner } from '../../../../runtime-shim/host/spawn.ts';
import { bundleFiles, createByConmon, type ConmonOptions } from '../../../../runtime-shim/oci-runtime/conmon.ts';
import { waitFor } from '../../../support/wait.ts';

/** As conmon does: one process says that the container is made, another one notes who that is, here when it may. */
const LATE_LAUNCHER = `#!/bin/sh
(echo '{"pid": 4242}' >&3; echo 4141 >told)
exec 3>&-
while [ ! -e may-end ]; do :; done
echo 4141 >conmon.pid
`;

function makeOptions(t: TestContext): ConmonOptions {
  const bundle = mkdtempSync(join(tmpdir(), 'windlass-conmon-'));
  t.after(() => rmSync(bundle, { recursive: true, force: true }));
  const conmonPath = join(bundle, 'launcher');
  writeFileSync(conmonPath, LATE_LAUNCHER, { mode: 0o755 });
  return {
    ...{ conmonPath, bundle, runtimePath: '/bin/false', runtimeArgs: [], containerId: 'c', name: 'c' },
    ...{ exitDirectory: bundle, logPath: undefined, terminal: false, stdin: false, leaveStdinOpen: false },
  };
}

test('createByConmon() resolves when the monitor is known, not before', async (t) => {
  const options = makeOptions(t);
  let isDone = false;
  const created = createByConmon(createSpawner(), options, AbortSignal.timeout(10_000)).finally(() => (isDone = true));
  const told = join(options.bundle, 'told');
  await waitFor(() => readIfThere(told) !== '', { what: 'the message' });
  for (let turn = 0; turn < 100; turn += 1) await nextTurn();
  assert.equal(isDone, false);
  writeFileSync(join(options.bundle, 'may-end'), '');
  assert.equal(await created, 4242);
  assert.equal(readFileSync(bundleFiles.conmonPid(options.bundle), 'utf8').trim(), '4141');
});

test('createByConmon() waits for that no longer than its caller does', async (t) => {
  const options = makeOptions(t);
  const stop = new AbortController();
  const created = createByConmon(createSpawner(), options, stop.signal);
  await waitFor(() => readIfThere(join(options.bundle, 'told')) !== '', { what: 'the message' });
  stop.abort(new Error('too late'));
  await assert.rejects(created, /too late/);
  writeFileSync(join(options.bundle, 'may-end'), '');
  await waitFor(() => readIfThere(bundleFiles.conmonPid(options.bundle)) !== '', { what: 'the end of the launcher' });
});

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
