import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeHalfMadeCheckpoints } from '../../../../runtime-shim/rpc/checkpoint-container.ts';
import type { Shim } from '../../../../runtime-shim/rpc/deps.ts';

test('removeHalfMadeCheckpoints() thaws what was frozen for one and removes its parts', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'windlass-checkpoints-'));
  t.after(() => rmSync(home, { recursive: true }));
  const frozen = new Set(['/group/a', '/group/paused']);
  const shim = {
    instance: { home },
    cgroups: { isFrozen: (path: string) => frozen.has(path), thaw: (path: string) => frozen.delete(path) },
  } as unknown as Shim;
  removeHalfMadeCheckpoints(shim);
  const partial = join(home, 'x.tar.partial');
  for (const name of ['a-1', 'paused-2']) mkdirSync(join(home, 'checkpoints', name, 'content'), { recursive: true });
  writeFileSync(join(home, 'checkpoints/a-1/to-thaw'), '/group/a');
  writeFileSync(join(home, 'checkpoints/a-1/partial'), partial);
  writeFileSync(partial, '');
  removeHalfMadeCheckpoints(shim);
  assert.deepEqual([...frozen], ['/group/paused'], 'one that its user had paused stays so');
  assert.deepEqual([existsSync(partial), existsSync(join(home, 'checkpoints/a-1'))], [false, false]);
});
