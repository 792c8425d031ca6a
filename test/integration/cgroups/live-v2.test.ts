// The v2 code on a real v2 hierarchy. Where v2 only stands beside the v1 controllers, freezing and killing work there
// all the same; limits and measurements want a host whose controllers are on v2.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parseCgroupMounts } from '../../../runtime-shim/cgroups/cgroups.ts';
import { createCgroupsV2 } from '../../../runtime-shim/cgroups/v2.ts';
import { requireFeature, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';
import { readKernelText } from '../../../lib/kernel-file.ts';

const mount = parseCgroupMounts(readKernelText('/proc/self/mountinfo')).v2;
const controllers = mount === undefined ? '' : readFileSync(join(mount, 'cgroup.controllers'), 'utf8');
const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

async function startIn(t: TestContext, folder: string): Promise<ChildProcess> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  await waitFor(() => child.pid !== undefined);
  writeFileSync(join(folder, 'cgroup.procs'), String(child.pid));
  return child;
}

test('a live v2 group is frozen, thawed, killed whole and removed', async (t) => {
  if (!requireRoot(t) || !requireFeature(t, mount !== undefined, 'needs a mounted cgroup v2 hierarchy')) return;
  const cgroups = createCgroupsV2(mount ?? '');
  const path = `/windlass-test-${process.pid}/one`;
  const parent = `/windlass-test-${process.pid}`;
  mkdirSync(join(mount ?? '', path), { recursive: true });
  t.after(() => cgroups.remove(parent));
  const child = await startIn(t, join(mount ?? '', path));
  assert.deepEqual(cgroups.pids(parent), [child.pid]);
  await cgroups.freeze(parent, AbortSignal.timeout(5_000));
  assert.equal(cgroups.isFrozen(parent), true);
  cgroups.thaw(parent);
  assert.equal(cgroups.isFrozen(parent), false);
  await cgroups.freeze(parent, AbortSignal.timeout(5_000));
  await cgroups.killAll(parent, AbortSignal.timeout(5_000));
  await waitFor(() => hasEnded(child));
  cgroups.remove(parent);
  assert.equal(existsSync(join(mount ?? '', parent)), false);
});

test('a live v2 group takes limits in place and is measured', async (t) => {
  const isWhole = ['cpu', 'memory', 'pids'].every((name) => controllers.split(/\s+/).includes(name));
  if (!requireRoot(t) || !requireFeature(t, isWhole, 'needs a host with cpu, memory and pids on cgroup v2')) return;
  const cgroups = createCgroupsV2(mount ?? '');
  const parent = `/windlass-test-${process.pid}`;
  const path = `${parent}/one`;
  cgroups.create(parent);
  mkdirSync(join(mount ?? '', path));
  t.after(() => cgroups.remove(parent));
  const child = await startIn(t, join(mount ?? '', path));
  cgroups.update(path, { memoryBytes: 64 * 2 ** 20, pids: 50 });
  const stats = cgroups.stats(path);
  assert.deepEqual([stats?.memoryLimitBytes, stats?.processes], [64 * 2 ** 20, 1]);
  await cgroups.killAll(parent, AbortSignal.timeout(5_000));
  await waitFor(() => hasEnded(child));
});
