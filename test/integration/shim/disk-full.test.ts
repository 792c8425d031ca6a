// A full disk under the folders of an instance: calls fail with words that name the folder, leave nothing half made, and
// work again as soon as there is room. What needs no room (stop, remove, list) works all the time.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { mount, mountTmpfs, MS } from '../../../runtime-shim/host/mount.ts';
import { takeOwnSnapshot } from '../../support/host-snapshot.ts';
import { equalsSnapshot } from '../../support/snapshot-check.ts';
import { makeImage, writeOciLayout } from '../../support/images.ts';
import { pickSubnet } from '../../support/own-subnet.ts';
import { startTestRegistry } from '../../support/registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

/** Takes what is left of the file system of `folder`, bytes or inodes; returns what gives it back. */
const FILLERS: Readonly<Record<'bytes' | 'inodes', (folder: string) => () => void>> = {
  bytes(folder) {
    const file = join(folder, 'filler');
    for (const size of [65_536, 4096, 1]) untilFull(() => writeFileSync(file, Buffer.alloc(size, 1), { flag: 'a' }));
    return () => rmSync(file);
  },
  inodes(folder) {
    let count = 0;
    untilFull(() => writeFileSync(join(folder, `filler-${(count += 1)}`), ''));
    return () => {
      for (; count > 0; count -= 1) rmSync(join(folder, `filler-${count}`), { force: true });
    };
  },
};

function untilFull(write: () => void): void {
  try {
    for (;;) write();
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
}

const ticking = { command: ['sh', '-c', 'while true; do echo tick; sleep 0.05; done'] };
const sleeping = { command: ['sleep', '1000'] };

for (const kind of ['bytes', 'inodes'] as const) {
  test(`no ${kind} left: calls say where, nothing half made stays, and all is well when there is room`, async (t) => {
    if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'docker-registry')) return;
    await using registry = await startTestRegistry();
    const image = makeImage({ layers: [[{ name: 'file', content: Buffer.alloc(300_000, 'x') }]] });
    const reference = await registry.push(image, 'full', '1');
    await using shim = await startTestShim({
      sandboxPool: 0,
      prepare: (root) => mountTmpfs(root, kind === 'bytes' ? 'size=160m' : 'size=512m,nr_inodes=3000'),
    });
    const { runtime, images, node } = shim.cri;
    const root = dirname(shim.instance.home);
    const layout = join(root, 'layout');
    writeOciLayout(layout, image);
    const lasting = await shim.run('lasting', ticking);
    const sandbox = await shim.runSandbox('sandbox');
    const created = await shim.create(sandbox, sleeping);
    const doomed = await shim.run('doomed', ticking);
    const before = takeOwnSnapshot(shim.instance);
    const makeRoom = FILLERS[kind](root);
    const prefix = pickSubnet();

    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      RunPodSandbox: () => shim.runSandbox('more'),
      CreateContainer: () => shim.create(sandbox, { ...sleeping, metadata: { name: 'more', attempt: 0 } }),
      StartContainer: () => runtime.startContainer({ containerId: created }),
      ExecSync: () => shim.exec(lasting, 'true'),
      PullImage: () => images.pullImage({ image: { image: reference } }),
      ImportImage: () => node.importImage({ path: layout, references: ['windlass.local/full:1'] }),
      EnsureNetwork: () =>
        node.ensureNetwork({
          network: {
            id: 'full/net',
            subnets: [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1`, ranges: [] }],
            ...{ internal: true, isolated: false, mtu: 1500, domain: 'full' },
          },
        }),
    };
    for (const [name, call] of Object.entries(calls)) {
      await assert.rejects(call(), (error: Error & { reason?: string }) => {
        assert.equal(error.reason, 'Unavailable', `${name}: ${error.message}`);
        assert.match(error.message, /no space left/, name);
        assert.ok(error.message.includes(root), `${name} names the folder: ${error.message}`);
        return true;
      });
    }
    assert.equal((await shim.status(created)).state, 'CONTAINER_CREATED');
    await equalsSnapshot(shim.instance, before);

    await runtime.updateContainerResources({ containerId: lasting, linux: { memoryLimitInBytes: 64 * 2 ** 20 } });
    await runtime.stopContainer({ containerId: doomed, timeout: 0 });
    assert.equal((await shim.status(doomed)).state, 'CONTAINER_EXITED');
    await runtime.removeContainer({ containerId: doomed });
    const { containers } = await runtime.listContainers({});
    assert.deepEqual(
      containers.map(({ id, state }) => [id, state]),
      [
        [lasting, 'CONTAINER_RUNNING'],
        [created, 'CONTAINER_CREATED'],
      ],
    );
    // A shim that is killed comes back to a full disk.
    untilFull(() => writeFileSync(join(root, 'filler-more'), Buffer.alloc(4096), { flag: 'a' }));
    await shim.kill();
    await shim.start();
    assert.equal((await shim.status(lasting)).state, 'CONTAINER_RUNNING');

    rmSync(join(root, 'filler-more'), { force: true });
    makeRoom();
    for (const [name, call] of Object.entries(calls)) {
      if (name !== 'PullImage') await call();
    }
    assert.equal((await shim.status(created)).state, 'CONTAINER_RUNNING');
    await lasts(shim, lasting);
  });
}

/** The container has lived on, and what it writes is kept again. */
async function lasts(shim: TestShim, containerId: string): Promise<void> {
  const { logPath, state } = await shim.status(containerId);
  assert.equal(state, 'CONTAINER_RUNNING');
  const size = readFileSync(logPath).length;
  await waitFor(() => readFileSync(logPath).length > size, { what: 'more output in the log' });
}

test('read-only folders: calls say so, what runs goes on, and all is well afterwards', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountTmpfs(root, 'size=160m') });
  const root = dirname(shim.instance.home);
  // The log would be open for writing, which keeps a mount from becoming read-only.
  const lasting = await shim.run('lasting', { ...sleeping, logPath: '' });
  setReadOnly(root, true);
  try {
    for (const call of [() => shim.runSandbox('more'), () => shim.exec(lasting, 'true')]) {
      await assert.rejects(call(), { reason: 'Unavailable', message: new RegExp(`${root}.*read-only`) });
    }
    assert.equal((await shim.status(lasting)).state, 'CONTAINER_RUNNING');
  } finally {
    setReadOnly(root, false);
  }
  await shim.runSandbox('more');
  await shim.exec(lasting, 'true');
});

/** The whole file system, as the kernel does it to a broken one. */
function setReadOnly(target: string, isReadOnly: boolean): void {
  mount(null, target, null, MS.remount | (isReadOnly ? MS.rdonly : 0));
}
