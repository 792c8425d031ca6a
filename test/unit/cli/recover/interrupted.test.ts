import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { refuseInterrupted } from '../../../../cli/recover/interrupted.ts';
import { describeInstance } from '../../../../lib/instance.ts';

test('nothing starts from an empty store where a recovery was cut off', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'windlass-recover-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const instance = describeInstance(home, join(home, 'run'));
  refuseInterrupted(instance);
  mkdirSync(join(home, 'etcd.recovered'));
  assert.throws(() => refuseInterrupted(instance), { reason: 'Conflict', message: /finish it with windlass recover/ });
  // Cut off earlier: the store is still the one that was there before.
  mkdirSync(join(home, 'etcd'));
  refuseInterrupted(instance);
});
