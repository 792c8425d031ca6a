import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { claimUp, readUpClaim, readUpState, writeUpState } from '../../../cli/up-state.ts';
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

test('claimUp() says who runs, and how to stop it', (t) => {
  const instance = makeInstance(t);
  claimUp(instance, parent);
  assert.deepEqual(readUpClaim(instance), parent);
  assert.throws(
    () => claimUp(instance, self),
    (error) =>
      reasonOf(error) === 'Conflict' &&
      String(error).includes(`already running as process ${parent.pid}; stop it with`),
  );
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
