import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import test from 'node:test';

test('createLogger() outlives a disk that is full', async () => {
  const url = new URL('../../../lib/log.ts', import.meta.url).href;
  const script = `import { createLogger } from '${url}';
    const log = createLogger('x');
    for (let count = 0; count < 5_000; count += 1) log.info({ count }, 'a line that nobody keeps');
    setTimeout(() => process.exit(7), 10);`;
  // Every write to it fails with ENOSPC.
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', full] });
  closeSync(full);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(code, 7);
});
