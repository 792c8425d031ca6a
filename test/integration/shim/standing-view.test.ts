// The view of the mounts in which conmon and crun are started on a host with control groups v1 and v2: what is in it, what
// is not, and when a container gets one of its own; and the one from which further programs are run.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { MNT, mount, mountTmpfs, MS, readMounts, umount } from '../../../runtime-shim/host/mount.ts';
import { findByArgument } from '../../../runtime-shim/oci-runtime/monitors.ts';
import { requireFeature, requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';
import { readKernelText } from '../../../lib/kernel-file.ts';

const command = ['sleep', '1000'];
const hasView = ({ instance }: TestShim): boolean =>
  readMounts().some(({ target }) => target === paths.snapshots(instance));
const needsView = (t: TestContext, shim: TestShim): boolean =>
  requireFeature(t, hasView(shim), 'a host with control groups v1 and v2, and crun');

/** A private mount in a folder of its own, with a mount in it; removed with the test. */
function makeHostMounts(t: TestContext): { outer: string; inner: string } {
  const outer = mkdtempSync(join(tmpdir(), 'windlass-test-view-'));
  const inner = join(outer, 'inner');
  t.after(() => {
    for (const target of [inner, outer]) umount(target, MNT.detach);
    rmSync(outer, { recursive: true });
  });
  mountTmpfs(outer);
  mount(null, outer, null, MS.private);
  mkdirSync(inner);
  mountTmpfs(inner);
  writeFileSync(join(inner, 'note'), 'of the host');
  return { outer, inner };
}

const conmonOf = ({ instance }: TestShim, id: string): number =>
  Number(readFileSync(join(paths.shimState(instance), 'b', id, 'conmon.pid'), 'utf8'));
const viewOf = (shim: TestShim, id: string): string => readlinkSync(`/proc/${conmonOf(shim, id)}/ns/mnt`);
const mountsOf = (shim: TestShim, id: string): string => readKernelText(`/proc/${conmonOf(shim, id)}/mountinfo`);

test('conmon keeps none of the mounts of the host busy, and lets go of what the shim unmounts', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  const { outer } = makeHostMounts(t);
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!needsView(t, shim)) return;
  const [first, second] = [await shim.run('first', { command }), await shim.run('second', { command })];
  assert.notEqual(viewOf(shim, first), readlinkSync('/proc/self/ns/mnt'));
  assert.equal(viewOf(shim, second), viewOf(shim, first));
  assert.ok(!mountsOf(shim, first).includes(outer));
  assert.ok(mountsOf(shim, first).includes(paths.snapshots(shim.instance)));
  const { items } = await shim.cri.runtime.listPodSandbox({});
  const [gone] = items.filter(({ metadata }) => metadata?.name === 'second');
  await shim.cri.runtime.removePodSandbox({ podSandboxId: gone?.id ?? '' });
  assert.ok(!mountsOf(shim, first).includes(`/s/${gone?.id}/`));
});

test('a container that binds a folder of the host sees what is mounted in it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!needsView(t, shim)) return;
  const plain = await shim.run('plain', { command });
  // Made after the view.
  const { outer } = makeHostMounts(t);
  const bind = { containerPath: '/data', hostPath: outer, readonly: false };
  const bound = await shim.run('bound', { command, mounts: [bind] });
  assert.equal(await shim.exec(bound, 'cat', '/data/inner/note'), 'of the host');
  assert.equal(viewOf(shim, bound), readlinkSync('/proc/self/ns/mnt'));
  assert.notEqual(viewOf(shim, plain), viewOf(shim, bound));
});

test('with its folders unmounted by somebody the shim goes on', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!needsView(t, shim)) return;
  await shim.run('before', { command });
  for (const folder of [paths.snapshots(shim.instance), paths.shimState(shim.instance)]) {
    umount(folder, MNT.detach);
    const after = await shim.run(`after-${basename(folder)}`, { command });
    assert.equal((await shim.status(after)).state, 'CONTAINER_RUNNING');
  }
});

/** The mounts of who runs a program in the container at this moment; empty when the shim started it itself. */
async function mountsOfRunner(shim: TestShim, id: string): Promise<string> {
  const program = shim.exec(id, 'sh', '-c', 'until test -e /go; do sleep 0.05; done; rm /go');
  const bundle = join(paths.shimState(shim.instance), 'b', id);
  const findRunner = () => findByArgument((argument) => argument.startsWith(`${bundle}/exec-`))[0];
  await waitFor(() => findRunner() !== undefined, { what: 'the OCI runtime' });
  const mounts = readKernelText(`/proc/${findRunner()?.pid}/mountinfo`);
  await shim.exec(id, 'touch', '/go');
  await program;
  return mounts;
}

test('further programs are run from a view with no mount of a container in it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!needsView(t, shim)) return;
  const id = await shim.run('one', { command });
  const isBare = (mounts: string): boolean =>
    !mounts.includes('/merged ') && mounts.includes('/sealed/crun ') && mounts.includes(' /sys/fs/cgroup/memory ');
  // A shell is ready in the view a moment after the first program.
  await waitFor(async () => isBare(await mountsOfRunner(shim, id)), { what: 'a program run from the view' });
  const later = await shim.run('two', { command });
  await waitFor(async () => isBare(await mountsOfRunner(shim, later)), { what: 'the same for a later container' });
  assert.equal(await shim.exec(later, 'hostname'), await shim.exec(later, 'cat', '/etc/hostname'));
  // What was sealed is taken away: the next program is run from elsewhere, or from a new view.
  umount(join(paths.shimState(shim.instance), 'sealed', 'crun'), MNT.detach);
  assert.equal(await shim.exec(id, 'echo', 'still'), 'still');
  await waitFor(async () => isBare(await mountsOfRunner(shim, id)), { what: 'a new view' });
});
