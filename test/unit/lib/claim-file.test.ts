import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { claimFile, readClaim } from '../../../lib/claim-file.ts';
import { identifyProcess, type ProcessIdentity } from '../../../lib/process-identity.ts';

const self = identifyProcess(process.pid) as ProcessIdentity;
const parent = identifyProcess(process.ppid) as ProcessIdentity;
const taken = ({ pid }: ProcessIdentity): Error => new Error(`taken by ${pid}`);

test('claimFile() lets one process in, and the next one when that is gone', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-unit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'lock');
  claimFile(file, parent, taken);
  assert.deepEqual(readClaim(file), parent);
  assert.throws(() => claimFile(file, self, taken), new RegExp(`^Error: taken by ${parent.pid}$`));
  // A process of that pid that began at another time is not the holder.
  const gone = { pid: parent.pid, startTime: parent.startTime - 1 };
  for (const stale of [JSON.stringify(gone), '', '{"pid":', 'null']) {
    writeFileSync(file, stale);
    assert.equal(readClaim(file), undefined);
    claimFile(file, self, taken);
    assert.deepEqual(readClaim(file), self);
    assert.throws(() => claimFile(file, parent, taken), /taken by/);
  }
  assert.deepEqual(readdirSync(folder), ['lock']);
  rmSync(file);
  assert.equal(readClaim(file), undefined);
});
