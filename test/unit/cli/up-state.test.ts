import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { claimUp, readUpState, writeUpState } from '../../../cli/up-state.ts';
import { reasonOf } from '../../../lib/errors.ts';
import { describeInstance, type Instance } from '../../../lib/instance.ts';
import { identifyProcess, type ProcessIdentity } from '../../../lib/process-identity.ts';

const self = identifyProcess(process.pid) as ProcessIdentity;
const parent = identifyProcess(process.ppid) as ProcessIdentity;

function makeInstance(t: { after(fn: () => void): void }): Instance {
  const run = mkdtempSync(join(tmpdir(), 'windlass-unit-'));
  t.after(() => rmSync(run, { recursive: true }));
  return describeInstance('/srv/w', run);
}

test('claimUp() lets one process in, and the next one when that is gone', (t) => {
  const instance = makeInstance(t);
  claimUp(instance, parent);
  assert.throws(
    () => claimUp(instance, self),
    (error) =>
      reasonOf(error) === 'Conflict' &&
      String(error).includes(`already running as process ${parent.pid}; stop it with`),
  );
  const gone = { pid: parent.pid, startTime: parent.startTime - 1 };
  for (const stale of [JSON.stringify(gone), '', '{"pid":']) {
    writeFileSync(join(instance.run, 'up.lock'), stale);
    claimUp(instance, self);
    assert.throws(() => claimUp(instance, parent), /already running as process/);
  }
  assert.deepEqual(readdirSync(instance.run), ['up.lock']);
});

test('readUpState() takes a file that is damaged or absent for none', (t) => {
  const instance = makeInstance(t);
  assert.equal(readUpState(instance), undefined);
  const state = {
    up: self,
    command: 'up',
    url: 'https://127.0.0.1:1',
    nextSteps: '',
    kubeconfig: '/k',
    ready: true,
    components: [],
  };
  writeUpState(instance, state);
  assert.deepEqual(readUpState(instance), state);
  writeFileSync(join(instance.run, 'up.json'), '{"up":');
  assert.equal(readUpState(instance), undefined);
});
