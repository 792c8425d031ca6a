import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { isNamespacePin, readMounts } from '../../../runtime-shim/host/mount.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const sandboxOf = async (shim: TestShim, containerId: string): Promise<string> => {
  const { containers } = await shim.cri.runtime.listContainers({ filter: { id: containerId } });
  return containers[0]?.podSandboxId ?? '';
};
const isMounted = (target: string): boolean => readMounts().some((entry) => entry.target === target);

test('pins and /dev/shm of a sandbox that were unmounted come back while a container runs in it', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const id = await shim.run('stays', { command: ['sleep', '1000'] });
  const folder = join(paths.shimState(shim.instance), 's', await sandboxOf(shim, id));
  const pins = ['net', 'ipc', 'uts'].map((kind) => join(folder, 'ns', kind));
  const before = await shim.exec(id, 'readlink', '/proc/1/ns/net');
  for (const target of [...pins, join(folder, 'shm')]) execFileSync('umount', ['-l', target]);
  await waitFor(() => pins.every(isNamespacePin) && isMounted(join(folder, 'shm')), { what: 'the mounts' });
  assert.equal(await shim.exec(id, 'readlink', '/proc/1/ns/net'), before);
  assert.equal((await shim.status(id)).state, 'CONTAINER_RUNNING');
  const second = await shim.create(await sandboxOf(shim, id), {
    metadata: { name: 'second', attempt: 0 },
    command: ['sleep', '1000'],
  });
  await shim.cri.runtime.startContainer({ containerId: second });
  assert.equal(await shim.exec(second, 'readlink', '/proc/1/ns/net'), before);
});

test('a sandbox whose namespace died with its last process counts as not ready, and goes without a trace', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const podSandboxId = await shim.runSandbox('empty');
  const folder = join(paths.shimState(shim.instance), 's', podSandboxId);
  execFileSync('umount', ['-l', join(folder, 'ns', 'net')]);
  await waitFor(
    async () => (await shim.cri.runtime.podSandboxStatus({ podSandboxId })).status?.state === 'SANDBOX_NOTREADY',
    { what: 'the state' },
  );
  await shim.cri.runtime.removePodSandbox({ podSandboxId });
  assert.equal(readMounts().filter(({ target }) => target.startsWith(folder)).length, 0);
});

test('a root file system that was unmounted is mounted again for the next start', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const id = await shim.run('stays', { command: ['sleep', '1000'] });
  const merged = readMounts().find(({ target }) => target.endsWith(`/${id}/merged`))?.target ?? '';
  execFileSync('umount', ['-l', merged]);
  assert.equal(await shim.exec(id, 'echo', 'works'), 'works');
  assert.equal((await shim.status(id)).state, 'CONTAINER_RUNNING');
  const created = await shim.create(await shim.runSandbox('waits'), { command: ['sleep', '1000'] });
  execFileSync('umount', ['-l', merged.replace(id, created)]);
  await shim.cri.runtime.startContainer({ containerId: created });
  assert.equal(await shim.exec(created, 'echo', 'works'), 'works');
  for (const containerId of [id, created]) {
    await shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
    await shim.cri.runtime.removeContainer({ containerId });
  }
  assert.equal(
    readMounts().filter(({ target }) => target.endsWith('/merged') && target.startsWith(shim.instance.home)).length,
    0,
  );
});
