// Containers that are stopped although somebody tampered with what a stop relies on.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';

interface VerboseInfo {
  readonly pid: number;
  readonly conmonPid: number;
  readonly cgroupsPath: string;
}

async function infoOf({ cri }: TestShim, containerId: string): Promise<VerboseInfo> {
  const { info } = await cri.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info['info'] ?? '{}') as VerboseInfo;
}

test('a container whose monitor is halted, or whose control groups are gone, is stopped and removed', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const { runtime } = shim.cri;

  const halted = await shim.run('halted', { command: ['sleep', '1000'] });
  process.kill((await infoOf(shim, halted)).conmonPid, 'SIGSTOP');
  await runtime.stopContainer({ containerId: halted, timeout: 0 });
  assert.equal((await shim.status(halted)).state, 'CONTAINER_EXITED');
  await runtime.removeContainer({ containerId: halted });

  const bare = await shim.run('bare', { command: ['sleep', '1000'] });
  const { pid, cgroupsPath } = await infoOf(shim, bare);
  for (const hierarchy of readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name))) {
    const group = join(hierarchy, cgroupsPath);
    if (!existsSync(join(group, 'cgroup.procs'))) continue;
    for (const one of readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean))
      writeFileSync(join(hierarchy, 'cgroup.procs'), one);
    rmdirSync(group);
  }
  await runtime.stopContainer({ containerId: bare, timeout: 0 });
  assert.equal(existsSync(`/proc/${pid}`), false);
  assert.equal((await shim.status(bare)).state, 'CONTAINER_EXITED');
  await runtime.removeContainer({ containerId: bare });
});
