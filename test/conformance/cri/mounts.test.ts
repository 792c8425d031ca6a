// Mounts of a container: read-only ones, also with what is mounted in them, propagation, image volumes.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ContainerConfig, Draft } from '../../../cri/messages.ts';
import { mount, mountTmpfs, MS, umountTree } from '../../../runtime-shim/host/mount.ts';
import { busyboxFiles } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';

let shim: TestShim;
let sandbox: string;
let work: string;
let count = 0;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  sandbox = await shim.runSandbox('mounts');
  work = mkdtempSync(join(tmpdir(), 'windlass-mounts-'));
});
after(async () => {
  if (!isRoot) return;
  await shim[Symbol.asyncDispose]();
  umountTree(work);
  rmSync(work, { recursive: true, force: true });
});

type Mounts = NonNullable<Draft<ContainerConfig>['mounts']>;
const create = (mounts: Mounts, privileged = false): Promise<string> => {
  count += 1;
  return shim.create(sandbox, {
    metadata: { name: `c${count}`, attempt: 0 },
    logPath: `${count}.log`,
    command: ['sleep', '1000'],
    mounts,
    linux: { securityContext: { privileged } },
  });
};
const start = async (mounts: Mounts, privileged = false): Promise<string> => {
  const containerId = await create(mounts, privileged);
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
};
const fails = async (containerId: string, script: string, because: RegExp): Promise<void> => {
  const cmd = ['sh', '-c', script];
  const { exitCode, stderr } = await shim.cri.runtime.execSync({ containerId, cmd, timeout: 10 });
  assert.notEqual(exitCode, 0, script);
  assert.match(stderr.toString(), because);
};
/** A folder with a tmpfs mounted in it. */
function folderWithMount(name: string): string {
  const folder = join(work, name);
  mkdirSync(join(folder, 'tmpfs'), { recursive: true });
  mountTmpfs(join(folder, 'tmpfs'));
  return folder;
}

test('readonly covers the mount itself; recursive_read_only what is mounted in it too', async (t) => {
  if (!requireRoot(t)) return;
  const { runtimeHandlers } = await shim.cri.runtime.status({});
  assert.deepEqual(
    runtimeHandlers.map(({ features }) => features?.recursiveReadOnlyMounts),
    [true, true],
  );
  const mounted = { containerPath: '/mnt', hostPath: folderWithMount('rro'), readonly: true };
  const plain = await start([mounted]);
  await shim.exec(plain, 'touch', '/mnt/tmpfs/file');
  await fails(plain, 'touch /mnt/file', /Read-only file system/);
  const recursive = await start([{ ...mounted, recursiveReadOnly: true }], true);
  await fails(recursive, 'touch /mnt/tmpfs/foo', /Read-only file system/);
  await fails(recursive, 'touch /mnt/file', /Read-only file system/);
  assert.equal((await shim.status(recursive)).mounts[0]?.recursiveReadOnly, true);
  // The host's own mounts stay writable.
  writeFileSync(join(mounted.hostPath, 'tmpfs', 'host'), '');
  assert.equal(await shim.exec(recursive, 'ls', '/mnt/tmpfs'), 'file\nhost');
});

test('recursive_read_only is refused for a writable mount and with propagation', async (t) => {
  if (!requireRoot(t)) return;
  const mounted = {
    containerPath: '/mnt',
    hostPath: folderWithMount('rro-bad'),
    readonly: true,
    recursiveReadOnly: true,
  };
  for (const change of [
    { readonly: false },
    { propagation: 'PROPAGATION_HOST_TO_CONTAINER' },
    { propagation: 'PROPAGATION_BIDIRECTIONAL' },
  ] as const) {
    await assert.rejects(create([{ ...mounted, ...change }], true), {
      reason: 'Invalid',
      message: /recursive_read_only/,
    });
  }
});

for (const [propagation, toContainer, toHost] of [
  ['PROPAGATION_PRIVATE', false, false],
  ['PROPAGATION_HOST_TO_CONTAINER', true, false],
  ['PROPAGATION_BIDIRECTIONAL', true, true],
] as const) {
  test(`${propagation}: mounts show ${toContainer ? 'up in' : 'neither in'} the container ${toHost ? 'and on' : 'nor on'} the host`, async (t) => {
    if (!requireRoot(t)) return;
    const source = join(work, propagation);
    const other = join(work, `${propagation}-other`);
    for (const folder of [join(source, 'fromHost'), join(source, 'fromContainer'), other])
      mkdirSync(folder, { recursive: true });
    writeFileSync(join(other, 'flag'), '');
    mount(source, source, null, MS.bind | MS.rec);
    mount(null, source, null, (propagation === 'PROPAGATION_PRIVATE' ? MS.private : MS.shared) | MS.rec);
    const id = await start([{ containerPath: source, hostPath: source, propagation }], true);
    const { mounts } = await shim.status(id);
    assert.deepEqual([mounts[0]?.hostPath, mounts[0]?.propagation, mounts[0]?.readonly], [source, propagation, false]);
    mount(other, join(source, 'fromHost'), null, MS.bind);
    assert.equal(await shim.exec(id, 'ls', join(source, 'fromHost')), toContainer ? 'flag' : '');
    await shim.exec(id, 'mount', '--bind', '/etc', join(source, 'fromContainer'));
    assert.equal(readdirSync(join(source, 'fromContainer')).length > 0, toHost);
    await shim.cri.runtime.removeContainer({ containerId: id });
    umountTree(source);
  });
}

test('image volume: content, read-only, executable, its digest in the status', async (t) => {
  if (!requireRoot(t)) return;
  const image = await shim.importImage([...busyboxFiles(), { name: 'only/here', content: 'found' }]);
  const id = await start([{ containerPath: '/image', image: { image }, readonly: true }]);
  assert.equal(await shim.exec(id, 'cat', '/image/only/here'), 'found');
  await fails(id, 'touch /image/x', /Read-only file system/);
  assert.match(await shim.exec(id, '/image/bin/busybox', 'ls', '/image'), /only/);
  const [mounted] = (await shim.status(id)).mounts;
  assert.equal(mounted?.image?.imageRef, image);
  assert.equal(mounted?.image?.image, image);
});

test('image volume: a sub-path shows that part only; one that is not there, leads out, or is to be writable is refused', async (t) => {
  if (!requireRoot(t)) return;
  const image = await shim.importImage([
    ...busyboxFiles(),
    { name: 'only/here', content: 'found' },
    { name: 'out', type: 'symlink', linkName: '../../../../../../..' },
  ]);
  const volume = { containerPath: '/image', image: { image }, readonly: true };
  const id = await start([
    { ...volume, imageSubPath: 'only' },
    { ...volume, containerPath: '/file', imageSubPath: 'only/here' },
    // A link leads through the image's own root.
    { ...volume, containerPath: '/root', imageSubPath: 'out/only' },
  ]);
  assert.equal(await shim.exec(id, 'cat', '/image/here', '/file', '/root/here'), 'foundfoundfound');
  await assert.rejects(create([{ ...volume, imageSubPath: 'no/such' }]), { reason: 'Invalid', message: /no\/such/ });
  await assert.rejects(create([{ ...volume, readonly: false }]), { reason: 'Invalid', message: /readonly/ });
  await assert.rejects(create([{ ...volume, image: { image: 'windlass.local/absent:1' } }]), { reason: 'NotFound' });
  await assert.rejects(create([{ ...volume, hostPath: '/etc' }]), { reason: 'Invalid', message: /host_path/ });
  const { image: found } = await shim.cri.images.imageStatus({ image: { image: BUSYBOX } });
  assert.ok(found);
});
