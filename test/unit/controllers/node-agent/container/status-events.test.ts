import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Observed } from '../../../../../controllers/node-agent/container/plan.ts';
import type { Prepared } from '../../../../../controllers/node-agent/container/prepared.ts';
import { specHash } from '../../../../../controllers/node-agent/container/spec-hash.ts';
import { ANNOTATIONS } from '../../../../../controllers/node-agent/container/annotations.ts';
import { eventsOfChange } from '../../../../../controllers/node-agent/container/status-events.ts';
import { makeContainer, NOW } from '../../../../support/objects.ts';

const container = makeContainer('c');

function observe(
  run: { exitCode?: number; reason?: string; message?: string } | undefined,
  prepared?: Prepared,
): Observed {
  const annotations = { [ANNOTATIONS.specHash]: specHash(container.spec) };
  return {
    container,
    nowMs: NOW,
    sandboxes: run ? [{ id: 's', isReady: true, annotations }] : [],
    containers: run ? [{ id: 'r', sandboxId: 's', state: 'Exited', reason: '', message: '', exitCode: 0, ...run }] : [],
    prepared,
    unhealthyStops: new Set(),
    isPaused: false,
    drift: [],
  } as unknown as Observed;
}

const ended = { containerID: 'r', finishedAt: 'now' };

test('eventsOfChange() tells of an exit once, as a warning when it failed', () => {
  const tell = (run: { exitCode?: number; reason?: string; message?: string }): object[] =>
    eventsOfChange({}, ended, observe(run));
  assert.deepEqual(tell({}), [{ type: 'Normal', reason: 'Completed', message: 'exited with code 0' }]);
  assert.deepEqual(tell({ exitCode: 255, message: 'its monitor was lost' }), [
    { type: 'Warning', reason: 'Exited', message: 'exited with code 255: its monitor was lost' },
  ]);
  assert.deepEqual(tell({ exitCode: 3 }), [{ type: 'Warning', reason: 'Exited', message: 'exited with code 3' }]);
  assert.deepEqual(tell({ exitCode: 137, reason: 'OOMKilled' }), [
    {
      type: 'Warning',
      reason: 'OOMKilled',
      message: 'killed for using more memory than its limit, exited with code 137',
    },
  ]);
  assert.deepEqual(eventsOfChange(ended, ended, observe({ exitCode: 3 })), []);
});

test('eventsOfChange() tells what a Container waits for when that changes', () => {
  const missing = { state: 'Waiting', reason: 'VolumeNotFound', message: 'volume "v" not found' } as const;
  const ready = { state: 'Ready' } as const;
  const prepared = { image: ready, volumes: missing, network: ready, config: ready, dependencies: ready } as unknown;
  const waits = { phase: 'Pending', reason: missing.reason, message: missing.message } as const;
  const observed = observe(undefined, prepared as Prepared);
  assert.deepEqual(eventsOfChange({ phase: 'Pending', reason: 'ContainerCreating' }, waits, observed), [
    { type: 'Warning', reason: missing.reason, message: missing.message },
  ]);
  assert.deepEqual(eventsOfChange(waits, waits, observed), []);
});

test('eventsOfChange() tells of health that is lost and found', () => {
  const healthy = { containerID: 'r', health: { status: 'Healthy', failingStreak: 0 } } as const;
  const sick = { containerID: 'r', health: { status: 'Unhealthy', failingStreak: 3, output: 'refused' } } as const;
  assert.deepEqual(eventsOfChange(healthy, sick, observe(undefined)), [
    { type: 'Warning', reason: 'Unhealthy', message: 'health check failed 3 times: refused' },
  ]);
  assert.deepEqual(eventsOfChange(sick, healthy, observe(undefined)), [
    { type: 'Normal', reason: 'Healthy', message: 'health check succeeds again' },
  ]);
});
