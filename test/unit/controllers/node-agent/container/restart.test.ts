import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideRestart, type Exit } from '../../../../../controllers/node-agent/container/restart.ts';

const exit = (overrides: Partial<Exit> = {}): Exit => ({
  exitCode: 1,
  startedAtMs: 0,
  finishedAtMs: 1000,
  restartCount: 0,
  shortRuns: 0,
  wasUnhealthy: false,
  ...overrides,
});

test('decideRestart() doubles from 100 ms to a minute and forgets after a stable run', () => {
  const delay = (shortRuns: number, ranMs = 1000): number => {
    const decision = decideRestart({ restartPolicy: 'Always' }, exit({ shortRuns, finishedAtMs: ranMs }));
    return decision.kind === 'restart' ? decision.atMs - ranMs : -1;
  };
  assert.deepEqual(
    [0, 1, 2, 9, 20].map((runs) => delay(runs)),
    [100, 200, 400, 51_200, 60_000],
  );
  assert.equal(delay(9, 10_000), 0);
});

test('decideRestart() follows the policy, counts retries and takes ill health for a failure', () => {
  const kind = (policy: Parameters<typeof decideRestart>[0], overrides: Partial<Exit> = {}): string =>
    decideRestart(policy, exit(overrides)).kind;
  assert.equal(kind({ restartPolicy: 'Never' }), 'final');
  assert.equal(kind({ restartPolicy: 'OnFailure' }), 'restart');
  assert.equal(kind({ restartPolicy: 'OnFailure' }, { exitCode: 0 }), 'final');
  assert.equal(kind({ restartPolicy: 'OnFailure' }, { exitCode: 0, wasUnhealthy: true }), 'restart');
  assert.equal(kind({ restartPolicy: 'OnFailure', maxRetries: 2 }, { restartCount: 2 }), 'final');
  assert.equal(kind({ restartPolicy: 'Always' }, { exitCode: 0 }), 'restart');
});
