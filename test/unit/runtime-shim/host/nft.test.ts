import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runNftScript } from '../../../../runtime-shim/host/nft.ts';

/** Lets `script` stand for nft; with none there is no such program. */
function standIn(t: TestContext, script?: string): void {
  const [folder, before] = [mkdtempSync(join(tmpdir(), 'windlass-nft-')), process.env['PATH']];
  if (script !== undefined) writeFileSync(join(folder, 'nft'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  process.env['PATH'] = folder;
  t.after(() => {
    process.env['PATH'] = before;
    rmSync(folder, { recursive: true });
  });
}

for (const [how, script, message] of [
  ['what it says', 'read -r line; echo "no such table" >&2; exit 1', 'nft -f - failed: no such table'],
  ['the signal that ended it', 'kill -KILL $$', 'nft -f - failed: ended by SIGKILL'],
  ['that there is no such program', undefined, 'nft -f - failed: spawn nft ENOENT'],
] as const) {
  test(`an nft that fails is told by ${how}`, async (t) => {
    standIn(t, script);
    await assert.rejects(runNftScript('list tables\n'), { message });
  });
}
