import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Secret } from '../../../../../crds/builtin.ts';
import type { Container } from '../../../../../crds/container.ts';
import {
  createProjectedRefresher,
  type ProjectedRefresherDeps,
} from '../../../../../controllers/node-agent/volumes/projected-refresher.ts';
import { WindlassError } from '../../../../../lib/errors.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';
import { makeContainer } from '../make.ts';

const ROUND_MS = 10_000;

test('the refresher asks once for what the environment of a running container was read from', async (t) => {
  const clock = createFakeClock();
  const stop = new AbortController();
  const asked: string[] = [];
  let isAway = true;
  let running: Container[] = [
    makeContainer({
      env: [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'password', key: 'value' } } }],
      envFrom: [{ configMapRef: { name: 'settings' } }],
    }),
  ];
  const ask = async (name: string): Promise<undefined> => {
    asked.push(name);
    if (isAway) throw new WindlassError('Unavailable', 'connection refused');
  };
  const cluster: Partial<ProjectedRefresherDeps['cluster']> = {
    secret: (_, name): Promise<Secret | undefined> => ask(name),
    configMap: (_, name) => ask(name),
  };
  const refresher = createProjectedRefresher({
    cluster: cluster as ProjectedRefresherDeps['cluster'],
    store: { roots: { volumes: '/nowhere', projected: '/nowhere' } } as ProjectedRefresherDeps['store'],
    running: () => running,
    ...{ clock, log: silentLogger() },
  });
  const ended = refresher.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await ended;
  });
  await clock.advance(ROUND_MS);
  assert.deepEqual(asked.splice(0), ['password']);
  isAway = false;
  await clock.advance(ROUND_MS);
  assert.deepEqual(asked.splice(0), ['password', 'settings']);
  await clock.advance(ROUND_MS);
  assert.deepEqual(asked, []);
  // Another Container of the same name is another one.
  running = running.map((one) => ({ ...one, metadata: { ...one.metadata, uid: 'u2' } }));
  await clock.advance(ROUND_MS);
  assert.deepEqual(asked, ['password', 'settings']);
});
