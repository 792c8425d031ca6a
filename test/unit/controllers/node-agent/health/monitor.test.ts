import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHealthMonitor } from '../../../../../controllers/node-agent/health/health-monitor.ts';
import { resolveHealthCheck } from '../../../../../controllers/node-agent/health/health-check.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';
import { makeContainer, makeRun } from '../make.ts';

function start() {
  const clock = createFakeClock();
  const probes: number[] = [];
  let exitCode = 0;
  const runtime = {
    execSync: async () => {
      probes.push(clock.now());
      return { exitCode, output: '' };
    },
  };
  const stop = new AbortController();
  const monitor = createHealthMonitor({ runtime, clock, log: silentLogger(), onChange: () => undefined }, stop.signal);
  const container = makeContainer({ healthCheck: { exec: { command: ['x'] }, intervalSeconds: 10, retries: 1 } });
  const run = makeRun({ startedAtMs: clock.now() });
  const check = resolveHealthCheck(container.spec.healthCheck, undefined);
  const follow = (isPaused: boolean) => monitor.follow(container, { run, check, network: undefined, isPaused });
  return { clock, probes, monitor, run, follow, fail: () => void (exitCode = 1) };
}

test('a paused container is not probed, and what was known of it stands', async () => {
  const { clock, probes, monitor, run, follow, fail } = start();
  follow(false);
  await clock.advance(1000);
  assert.equal(monitor.stateOf(run.id)?.status, 'Healthy');
  fail();
  follow(true);
  const asked = probes.length;
  await clock.advance(60_000);
  assert.equal(probes.length, asked);
  assert.equal(monitor.stateOf(run.id)?.status, 'Healthy');
  follow(false);
  assert.equal(monitor.stateOf(run.id)?.status, 'Healthy');
  await clock.advance(10_000);
  assert.equal(monitor.stateOf(run.id)?.status, 'Unhealthy');
});

test('retain() ends the checks of Containers that are gone', async () => {
  const { clock, probes, monitor, run, follow } = start();
  follow(false);
  await clock.advance(100);
  monitor.retain(new Set());
  const asked = probes.length;
  await clock.advance(60_000);
  assert.equal(probes.length, asked);
  assert.equal(monitor.stateOf(run.id), undefined);
});
