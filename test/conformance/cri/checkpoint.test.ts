import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import { criSuite } from '../../support/cri-suite.ts';
import { requireFeature } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const suite = criSuite(async () => ({ flags: ['--oci-runtime', 'runc'] }));
const criu = findProgram('criu');
const works = criu !== undefined && spawnSync(criu, ['check'], { stdio: 'ignore' }).status === 0;

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-checkpoint-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

suite.test('a checkpoint holds memory and changed files; the container keeps running', async (t) => {
  if (!requireFeature(t, works, 'needs a criu that works with this kernel')) return;
  const location = join(folderFor(t), 'checkpoint.tar');
  const command = ['sh', '-c', 'echo x > /new; rm /etc/group; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done'];
  const containerId = await suite.runSleeper({ command });
  await suite.untilLogged(containerId, '3');
  await suite.shim.cri.runtime.checkpointContainer({ containerId, location, timeout: 60 });
  const tar = (...args: string[]): string => spawnSync('tar', args, { encoding: 'utf8' }).stdout;
  const names = tar('-tf', location).split('\n');
  for (const name of ['checkpoint/inventory.img', 'config.dump', 'spec.dump', 'dump.log', 'rootfs-diff.tar']) {
    assert.ok(names.includes(name), name);
  }
  assert.deepEqual(JSON.parse(tar('-xOf', location, 'deleted.files')), ['/etc/group']);
  assert.equal((JSON.parse(tar('-xOf', location, 'config.dump')) as { id: string }).id, containerId);
  assert.equal(statSync(location).mode & 0o777, 0o600);
  const count = (await suite.shim.readLog(containerId)).length;
  await waitFor(async () => (await suite.shim.readLog(containerId)).length > count + 2, { what: 'more output' });
  assert.deepEqual(readdirSync(join(suite.shim.instance.home, 'checkpoints')), []);
});

suite.test('a checkpoint that takes too long ends in Timeout and leaves no archive', async (t) => {
  if (!requireFeature(t, works, 'needs a criu that works with this kernel')) return;
  const location = join(folderFor(t), 'checkpoint.tar');
  const containerId = await suite.runSleeper();
  const late = suite.shim.cri.runtime.checkpointContainer({ containerId, location }, { timeoutMs: 150 });
  await assert.rejects(late, { reason: 'Timeout' });
  await suite.shim.exec(containerId, 'true').catch(() => undefined);
  await suite.shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
  await suite.shim.cri.runtime.removeContainer({ containerId });
  assert.ok(!existsSync(location));
});

suite.test('without a criu that works the call is refused and says what is missing', async (t) => {
  if (!requireFeature(t, !works, 'criu works here')) return;
  const containerId = await suite.runSleeper();
  const location = join(folderFor(t), 'checkpoint.tar');
  await assert.rejects(suite.shim.cri.runtime.checkpointContainer({ containerId, location }), {
    reason: 'Unimplemented',
    message: /criu/,
  });
  assert.ok(!existsSync(location));
  await suite.shim.exec(containerId, 'true');
});

suite.test(
  'a place that is no file of an existing folder is refused, and so is a container that does not run',
  async (t) => {
    const { runtime } = suite.shim.cri;
    const folder = folderFor(t);
    const containerId = await suite.runSleeper();
    const checkpoint = (location: string) => runtime.checkpointContainer({ containerId, location });
    for (const location of ['', 'relative.tar', `${folder}/../x.tar`, folder]) {
      await assert.rejects(checkpoint(location), { reason: 'Invalid' }, location);
    }
    await assert.rejects(checkpoint(join(folder, 'none', 'x.tar')), { reason: 'NotFound' });
    writeFileSync(join(folder, 'file'), '');
    await assert.rejects(checkpoint(join(folder, 'file', 'x.tar')), { reason: 'NotFound' });
    await runtime.stopContainer({ containerId, timeout: 0 });
    await assert.rejects(checkpoint(join(folder, 'x.tar')), { reason: 'Conflict' });
  },
);

suite.test('pod checkpoints are refused by name', async () => {
  const { runtime } = suite.shim.cri as unknown as { runtime: Record<string, (request: object) => Promise<object>> };
  for (const call of ['checkpointPod', 'restorePod']) {
    await assert.rejects(runtime[call]?.({}) ?? assert.fail(call), { reason: 'Unimplemented' });
  }
});
