import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execLimits } from '../../../../runtime-shim/oci-runtime/exec-limits.ts';

const LIMITS = [
  { type: 'RLIMIT_NOFILE', soft: 1000, hard: 20_000 },
  { type: 'RLIMIT_CORE', soft: 0, hard: 5 },
];

test('execLimits() leaves runc nothing to raise, and crun what was asked for', () => {
  assert.deepEqual(execLimits('crun', LIMITS), LIMITS);
  assert.deepEqual(execLimits('runc', LIMITS), [{ ...LIMITS[0], hard: 1000 }, LIMITS[1]]);
});
