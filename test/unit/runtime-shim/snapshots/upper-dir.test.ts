import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listChanges, upperDirOf } from '../../../../runtime-shim/snapshots/upper-dir.ts';

test('upperDirOf() finds the overlay on top at a mount point', () => {
  const mountinfo = [
    '40 1 0:50 / /a/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/old/upper,workdir=/w',
    '41 1 0:51 / /a/merged rw,relatime shared:3 - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/a\\040b/upper,workdir=/w',
    '42 1 0:52 / /b rw - tmpfs tmpfs rw',
  ].join('\n');
  assert.equal(upperDirOf('/a/merged', mountinfo), '/a b/upper');
  assert.equal(upperDirOf('/b', mountinfo), undefined);
  assert.equal(upperDirOf('/c', mountinfo), undefined);
});

test('listChanges() lists parents before what is in them', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-upper-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'etc/-x'), { recursive: true });
  writeFileSync(join(folder, 'etc/-x/new\nline'), '');
  assert.deepEqual(await listChanges(folder), {
    present: ['./etc', './etc/-x', './etc/-x/new\nline'],
    deleted: [],
  });
});
