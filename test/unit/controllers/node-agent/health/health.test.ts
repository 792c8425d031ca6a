import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { HealthCheck } from '../../../../../crds/container-process.ts';
import { resolveHealthCheck } from '../../../../../controllers/node-agent/health/health-check.ts';
import {
  INITIAL_HEALTH,
  nextHealth,
  nextProbeDelayMs,
} from '../../../../../controllers/node-agent/health/health-state.ts';
import { runProbe } from '../../../../../controllers/node-agent/health/run-probe.ts';

const TIMES = { intervalMs: 30_000, timeoutMs: 1000, retries: 2, startPeriodMs: 5000, startIntervalMs: 500 };
const BAD = { ok: false, message: 'no' } as const;

test('nextHealth() forgives failures in the start period and before the first interval, and needs retries in a row', () => {
  const early = nextHealth(INITIAL_HEALTH, BAD, TIMES, 0, 4999);
  assert.deepEqual(early, { status: 'Starting', failingStreak: 0, lastFailure: 'no' });
  assert.equal(nextProbeDelayMs(early, TIMES, 0, 4999), 500);
  assert.equal(nextHealth(early, BAD, TIMES, 0, 29_999).failingStreak, 0);
  const first = nextHealth(early, BAD, TIMES, 0, 30_000);
  assert.deepEqual([first.status, first.failingStreak], ['Starting', 1]);
  assert.equal(nextProbeDelayMs(first, TIMES, 0, 30_000), 30_000);
  const second = nextHealth(first, BAD, TIMES, 0, 60_000);
  assert.deepEqual([second.status, second.failingStreak], ['Unhealthy', 2]);
  const well = nextHealth(second, { ok: true }, TIMES, 0, 8000);
  assert.deepEqual(well, { status: 'Healthy', failingStreak: 0 });
  assert.equal(nextHealth(well, BAD, TIMES, 0, 1000).failingStreak, 1);
  assert.equal(nextProbeDelayMs(well, TIMES, 0, 1000), 30_000);
});

test('nextHealth() counts failures in a start period longer than the interval only after it', () => {
  const times = { ...TIMES, intervalMs: 1000 };
  const within = nextHealth(INITIAL_HEALTH, BAD, times, 0, 2000);
  assert.deepEqual([within.failingStreak, nextProbeDelayMs(within, times, 0, 2000)], [0, 500]);
  assert.equal(nextHealth(within, BAD, times, 0, 5000).failingStreak, 1);
});

test('nextProbeDelayMs() looks at a new container soon, at growing gaps, and at the first interval exactly', () => {
  const times = { ...TIMES, intervalMs: 2000, startPeriodMs: 0, startIntervalMs: 1000 };
  const looks: number[] = [];
  for (let now = 0; now < 4000;) {
    now += nextProbeDelayMs(INITIAL_HEALTH, times, 0, now);
    looks.push(now);
  }
  assert.deepEqual(looks, [50, 100, 200, 400, 800, 1600, 2000, 4000]);
});

test('resolveHealthCheck() takes the image`s HEALTHCHECK where the spec has no probe of its own', () => {
  const image = { Test: ['CMD-SHELL', 'true'], Interval: 2e9, Retries: 0 };
  assert.deepEqual(resolveHealthCheck(undefined, image), {
    probe: { kind: 'exec', command: ['/bin/sh', '-c', 'true'] },
    times: { intervalMs: 2000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5000 },
  });
  const withDefaults = HealthCheck.parse({ timeoutSeconds: 7 });
  assert.deepEqual(resolveHealthCheck(withDefaults, image)?.times, {
    ...{ intervalMs: 2000, timeoutMs: 7000, retries: 3, startPeriodMs: 0, startIntervalMs: 5000 },
  });
  assert.equal(resolveHealthCheck({ disabled: true }, image), undefined);
  assert.equal(resolveHealthCheck(undefined, { Test: ['NONE'] }), undefined);
  assert.deepEqual(resolveHealthCheck({ tcpSocket: { port: 1 } }, image)?.probe, { kind: 'tcp', port: 1 });
});

test('runProbe() tells good answers from bad, slow and absent ones', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/slow') return;
    response.writeHead(request.url === '/ok' ? 204 : 500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const target = {
    ip: '127.0.0.1',
    exec: async (command: readonly string[]) => ({ exitCode: Number(command[0]), output: 'why' }),
  };
  const probe = (one: Parameters<typeof runProbe>[0], timeoutMs = 30_000) =>
    runProbe(one, target, timeoutMs, new AbortController().signal);
  assert.deepEqual(await probe({ kind: 'http', path: '/ok', port }), { ok: true });
  assert.deepEqual(await probe({ kind: 'http', path: '/no', port }), { ok: false, message: 'HTTP status 500' });
  assert.deepEqual(await probe({ kind: 'http', path: '/slow', port }, 300), {
    ok: false,
    message: 'no answer within 0.3 s',
  });
  assert.deepEqual(await probe({ kind: 'tcp', port }), { ok: true });
  assert.equal((await probe({ kind: 'tcp', port: 1 })).ok, false);
  assert.deepEqual(await probe({ kind: 'exec', command: ['0'] }), { ok: true });
  assert.deepEqual(await probe({ kind: 'exec', command: ['2'] }), { ok: false, message: 'exit code 2: why' });
});
