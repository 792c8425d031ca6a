import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { describeInstance, paths } from '../../../../lib/instance.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { identifyProcess } from '../../../../lib/process-identity.ts';
import { recordExit, recordLoss } from '../../../../runtime-shim/rpc/container-exit.ts';
import { startContainer } from '../../../../runtime-shim/rpc/containers.ts';
import type { Shim } from '../../../../runtime-shim/rpc/deps.ts';
import { openExitFiles } from '../../../../runtime-shim/store/exit-watcher.ts';
import { createKeyedQueue } from '../../../../lib/keyed-queue.ts';
import { openRecordStore } from '../../../../runtime-shim/store/record-store.ts';
import type { ContainerRecord } from '../../../../runtime-shim/store/records.ts';

const HOUR_MS = 3_600_000;
const NOON = Date.UTC(2026, 0, 1, 12);
const id = 'a'.repeat(64);

/** A shim with one created container, whose clock says what `time.now` says. */
function makeShim(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-clock-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const instance = describeInstance(join(folder, 'home'), join(folder, 'run'));
  const state = paths.shimState(instance);
  const time = { now: NOON };
  const bundle = join(state, 'b', id);
  mkdirSync(bundle, { recursive: true });
  const shim = {
    instance,
    log: silentLogger(),
    clock: { now: () => time.now },
    store: openRecordStore(state, (_file, error) => assert.fail(String(error))),
    exits: openExitFiles(join(state, 'exits')),
    events: { publish: () => undefined },
    queue: createKeyedQueue(),
    turns: { next: async () => undefined },
    runtime: { start: async () => undefined },
    cgroups: { isFrozen: () => false, oomKills: () => 0, killAll: async () => undefined },
  } as unknown as Shim;
  // Stands for the container's first process: it is killed in the end.
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const init = identifyProcess(child.pid ?? 0);
  assert.ok(init);
  shim.store.containers.save({
    ...{ id, sandboxId: 'b'.repeat(64), phase: 'created', imageId: '', imageRef: '', bundle, cgroupsPath: '/none' },
    ...{ createdAtMs: time.now, startedAtMs: 0, finishedAtMs: 0, exitCode: 0, reason: '', message: '' },
    ...{ stopSignal: 15, resources: null, init },
    config: { metadata: { name: 'main', attempt: 0 }, labels: {}, annotations: {}, mounts: [] },
  } as unknown as ContainerRecord);
  return { shim, time, exitFile: join(state, 'exits', id) };
}

const timesOf = (shim: Shim): number[] => {
  const record = shim.store.containers.get(id);
  return [record?.createdAtMs ?? 0, record?.startedAtMs ?? 0, record?.finishedAtMs ?? 0];
};

test('a clock that is set back does not make a container start before it was created or end before it started', async (t) => {
  const { shim, time, exitFile } = makeShim(t);
  time.now -= HOUR_MS;
  await startContainer(shim, { containerId: id });
  time.now -= HOUR_MS;
  writeFileSync(exitFile, '3');
  utimesSync(exitFile, time.now / 1000, time.now / 1000);
  await recordExit(shim, id);
  assert.deepEqual(timesOf(shim), [NOON, NOON, NOON]);
  assert.deepEqual([shim.store.containers.get(id)?.phase, shim.store.containers.get(id)?.exitCode], ['exited', 3]);
});

test('a clock that is set forward is taken as it is', async (t) => {
  const { shim, time } = makeShim(t);
  await startContainer(shim, { containerId: id });
  time.now += 365 * 24 * HOUR_MS;
  await recordLoss(shim, id, 'lost');
  assert.deepEqual(timesOf(shim), [NOON, NOON, time.now]);
});
