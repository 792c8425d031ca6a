import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFailure, type StepEnd } from '../../../../builder/run/step-failure.ts';

const end = (overrides: Partial<StepEnd> = {}): StepEnd => ({
  ...{ args: ['/bin/sh', '-c', 'make'], exit: { code: 1, signal: undefined }, oomKills: 0, complaint: '', tail: [] },
  ...overrides,
});
const messageOf = (overrides: Partial<StepEnd>): string => describeFailure(end(overrides))?.message ?? '';

test('describeFailure() is silent for a step that succeeded, whatever the runtime has logged', () => {
  assert.equal(describeFailure(end({ exit: { code: 0, signal: undefined }, complaint: 'a warning' })), undefined);
});

test('describeFailure() tells code, signal and memory apart', () => {
  assert.equal(messageOf({}), 'exit code 1');
  assert.match(messageOf({ exit: { code: 143, signal: undefined } }), /exit code 143, as after SIGTERM$/);
  assert.match(
    messageOf({ exit: { code: undefined, signal: 'SIGKILL' }, oomKills: 2 }),
    /137, as after SIGKILL, the kernel killed .* memory$/,
  );
  assert.match(messageOf({ tail: ['first', 'cc: error', ' '] }), /; its last line: cc: error$/);
  assert.deepEqual(describeFailure(end({ tail: ['x'] }))?.details, {
    exitCode: 1,
    isOutOfMemory: false,
    output: ['x'],
  });
});

test('describeFailure() names a program that is not there, as crun and runc say it', () => {
  for (const complaint of [
    'executable file `/bin/sh` not found in $PATH: No such file or directory',
    'runc run failed: unable to start container process: exec: "/bin/sh": stat /bin/sh: no such file or directory',
  ]) {
    assert.match(messageOf({ complaint }), /^program "\/bin\/sh" cannot be run: this stage lacks it.*RUN takes a list/);
  }
  assert.doesNotMatch(messageOf({ args: ['tool'], complaint: 'executable file `tool` not found' }), /list/);
});

test('describeFailure() does not take for a missing program what cannot be executed, entered or set up', () => {
  assert.match(
    messageOf({ complaint: 'exec: "/bin/sh": permission denied' }),
    /cannot be run: exec.*permission denied$/,
  );
  assert.match(messageOf({ complaint: 'chdir to `/root`: Permission denied' }), /cannot be run: chdir/);
  const place = describeFailure(end({ complaint: 'error mounting x: mkdir /src/x: read-only file system' }));
  assert.equal(place?.reason, 'Invalid');
  assert.match(place?.message ?? '', /^the step cannot be set up: .*read-only file system$/);
  assert.equal(describeFailure(end({ complaint: 'clone: Resource temporarily unavailable' }))?.reason, 'Internal');
});

test('describeFailure() keeps a long command short', () => {
  assert.ok(messageOf({ args: ['sh', '-c', 'x'.repeat(10_000)], tail: ['y'.repeat(10_000)] }).length < 600);
});
