import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planArchive } from '../../../../controllers/archive/plan.ts';
import { ARCHIVE_KEPT_MS } from '../../../../crds/archive.ts';

const NOW = Date.parse('2026-01-31T12:00:00Z');
const LATER = '2026-01-31T13:00:00Z';

test('planArchive() keeps what an Image names, and the rest for a day', () => {
  assert.deepEqual(planArchive({}, true, NOW), { kind: 'keep', lookAgainMs: undefined });
  assert.deepEqual(planArchive({ expiresAt: LATER }, true, NOW), { kind: 'expire', atMs: null });
  assert.deepEqual(planArchive({}, false, NOW), { kind: 'expire', atMs: NOW + ARCHIVE_KEPT_MS });
  assert.deepEqual(planArchive({ expiresAt: 'x' }, false, NOW), { kind: 'expire', atMs: NOW + ARCHIVE_KEPT_MS });
  assert.deepEqual(planArchive({ expiresAt: LATER }, false, NOW), { kind: 'keep', lookAgainMs: 3_600_000 });
  assert.deepEqual(planArchive({ expiresAt: LATER }, false, Date.parse(LATER)), { kind: 'delete' });
});
