import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDeadline } from '../../../lib/deadline.ts';

test('openDeadline() aborts as AbortSignal.timeout() does, until it is disposed', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const kept = openDeadline(1000);
  const left = openDeadline(1000);
  left[Symbol.dispose]();
  t.mock.timers.tick(999);
  assert.equal(kept.signal.aborted, false);
  t.mock.timers.tick(1);
  assert.equal((kept.signal.reason as Error).name, 'TimeoutError');
  assert.equal(left.signal.aborted, false);
});
