import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createSpawner } from '../../../../runtime-shim/host/spawn.ts';
import { requireCheckpointSupport } from '../../../../runtime-shim/oci-runtime/checkpoint.ts';
import type { OciRuntime } from '../../../../runtime-shim/oci-runtime/runtime.ts';

/** Programs that are a few lines of shell; a name without one is not installed. */
function makeHost(t: TestContext, programs: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-criu-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const check = (kind: OciRuntime['kind']): Promise<void> =>
    requireCheckpointSupport(
      createSpawner(),
      { kind, program: join(folder, kind) } as OciRuntime,
      AbortSignal.timeout(10_000),
      (name) => (name in programs ? join(folder, name) : undefined),
    );
  return { check };
}

test('requireCheckpointSupport() says what is missing', async (t) => {
  const works = 'exit 0';
  const none = makeHost(t, {});
  await assert.rejects(none.check('runc'), { reason: 'Unimplemented', message: /apt-get install criu/ });
  const old = makeHost(t, {
    criu: "echo 'Error (criu/vdso.c:381): vdso: Unexpected bounds'; echo 'Error (criu/kerndat.c:1): more'; exit 1",
  });
  await assert.rejects(old.check('runc'), { reason: 'Unimplemented', message: /newer.*: vdso: Unexpected bounds$/ });
  const without = makeHost(t, { criu: works, crun: "echo 'crun version 1'; echo '+SYSTEMD +SECCOMP'" });
  await assert.rejects(without.check('crun'), { reason: 'Unimplemented', message: /built without criu.*runc/ });
});

test('requireCheckpointSupport() is content with a criu that works and a runtime that knows it', async (t) => {
  const host = makeHost(t, { criu: '[ "$1" = check ]', crun: "echo '+SYSTEMD +CRIU +YAJL'" });
  await host.check('runc');
  await host.check('crun');
});
