// Resource limits of the disk where the kernel keeps them: a write beyond the limit fails in the container, and that is all.
import assert from 'node:assert/strict';
import { readdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { projectOf, readProject } from '../../../runtime-shim/host/project-quota.ts';
import { mountQuotaDisk, whyNoQuotaDisk, type QuotaFs } from '../../support/quota-disk.ts';
import { requireFeature, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const MiB = 2 ** 20;
const BYTES = 'runtime.windlass.dev/ephemeral-storage';
const INODES = 'runtime.windlass.dev/ephemeral-inodes';
/** xfs calls the end of a project ENOSPC. */
const FULL = { ext4: /quota exceeded/i, xfs: /no space left/i } as const;
const sleeping = ['sleep', '1000'];

function requireQuotaDisk(t: TestContext, fs: QuotaFs): boolean {
  const reason = whyNoQuotaDisk(fs);
  return requireFeature(t, reason === undefined, reason ?? '');
}

const upperOf = ({ instance }: TestShim, containerId: string): string =>
  join(paths.snapshots(instance), 'containers', containerId, 'upper');

/** What a shell in the container says of a command that fails. */
async function fails(shim: TestShim, containerId: string, script: string): Promise<string> {
  const { exitCode, stderr } = await shim.cri.runtime.execSync({ containerId, cmd: ['sh', '-c', script], timeout: 20 });
  assert.notEqual(exitCode, 0);
  return stderr.toString();
}

for (const fs of ['ext4', 'xfs'] as const) {
  test(`resource limits: a full upper layer, a million small files: refused by the quotas of ${fs}`, async (t) => {
    if (!requireRoot(t) || !requireQuotaDisk(t, fs)) return;
    await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountQuotaDisk(fs, root) });
    const { instance, cri } = shim;
    const other = await shim.run('other', { command: sleeping });
    const greedy = await shim.run('greedy', {
      command: sleeping,
      annotations: { [BYTES]: String(10 * MiB), [INODES]: '2000' },
      // No right of a container lifts it.
      linux: { securityContext: { privileged: true } },
    });
    const before = statfsSync(instance.home);
    assert.match(await fails(shim, greedy, 'dd if=/dev/zero of=/big bs=64k count=3200'), FULL[fs]);
    assert.ok(Number(await shim.exec(greedy, 'stat', '-c', '%s', '/big')) <= 10 * MiB);
    assert.match(await fails(shim, greedy, 'rm /big; mkdir /d; cd /d; seq 3000 | xargs touch'), FULL[fs]);
    assert.ok(before.ffree - statfsSync(instance.home).ffree < 2100);
    // The first process and the neighbour notice nothing.
    assert.equal((await shim.status(greedy)).state, 'CONTAINER_RUNNING');
    await shim.exec(other, 'sh', '-c', 'dd if=/dev/zero of=/big bs=64k count=800');
    const { stats } = await cri.runtime.containerStats({ containerId: greedy });
    assert.ok((stats?.writableLayer?.inodesUsed?.value ?? 0) >= 2000);

    await shim.kill();
    await shim.start();
    await shim.exec(greedy, 'rm', '-r', '/d');
    assert.match(await fails(shim, greedy, 'dd if=/dev/zero of=/big bs=64k count=320'), FULL[fs]);
    await cri.runtime.updateContainerResources({
      containerId: greedy,
      linux: {},
      annotations: { [BYTES]: String(40 * MiB) },
    });
    await shim.exec(greedy, 'sh', '-c', 'dd if=/dev/zero of=/big bs=64k count=320');
    assert.match(await fails(shim, greedy, 'dd if=/dev/zero of=/big bs=64k count=960'), FULL[fs]);

    const projects = [greedy, other].map((id) => projectOf(upperOf(shim, id)));
    assert.equal(new Set(projects).size, 2);
    for (const containerId of [greedy, other]) await cri.runtime.removeContainer({ containerId });
    await waitFor(() => readdirSync(join(paths.snapshots(instance), 'staging')).length === 0, { what: 'the deletion' });
    for (const project of projects) {
      const left = readProject(instance.home, project);
      assert.deepEqual([left?.inodes ?? 0, left?.isLimited ?? false], [0, false]);
    }
  });

  test(`a layer that is kept goes on under its quota, with the limit of its next container, on ${fs}`, async (t) => {
    if (!requireRoot(t) || !requireQuotaDisk(t, fs)) return;
    await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountQuotaDisk(fs, root) });
    const key = { 'runtime.windlass.dev/rootfs-key': 'kept-1' };
    const first = await shim.run('first', { command: sleeping, annotations: key });
    await shim.exec(first, 'sh', '-c', 'dd if=/dev/zero of=/kept bs=64k count=80');
    await shim.cri.runtime.removeContainer({ containerId: first });
    const second = await shim.run('second', { command: sleeping, annotations: { ...key, [BYTES]: String(8 * MiB) } });
    assert.equal(await shim.exec(second, 'stat', '-c', '%s', '/kept'), String(5 * MiB));
    assert.match(await fails(shim, second, 'dd if=/dev/zero of=/more bs=64k count=80'), FULL[fs]);
  });
}
