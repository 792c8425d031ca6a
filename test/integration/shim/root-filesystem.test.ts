// Writable layers with a key: what a restart of a container keeps, and that nothing of them is left behind.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { readMounts } from '../../../runtime-shim/host/mount.ts';
import { busyboxFiles } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';

const KEY = { 'runtime.windlass.dev/rootfs-key': 'u1.abc' };
const sleeper = (attempt: number, image = BUSYBOX) => ({
  metadata: { name: 'main', attempt },
  image: { image },
  command: ['sleep', '1000'],
  annotations: KEY,
});

async function start(shim: TestShim, sandboxId: string, attempt: number, image?: string): Promise<string> {
  const containerId = await shim.create(sandboxId, sleeper(attempt, image));
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
}
const layersOf = (shim: TestShim): string[] => readdirSync(join(paths.snapshots(shim.instance), 'containers'));
const overlaysOf = (shim: TestShim): number =>
  readMounts().filter(({ target, fstype }) => fstype === 'overlay' && target.startsWith(`${shim.instance.home}/`))
    .length;

test('the layer of a key goes from run to run, over other sandboxes and a killed shim, until it is removed', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const sandbox = await shim.runSandbox('one');
  const first = await start(shim, sandbox, 0);
  await shim.exec(first, 'sh', '-c', 'echo kept > /note; chmod 700 /; rm /bin/true');
  await assert.rejects(shim.create(sandbox, sleeper(1)), /in use by container/);
  await assert.rejects(shim.cri.node.removeRootFilesystem({ key: 'u1.abc' }), /in use by container/);
  await shim.cri.runtime.stopContainer({ containerId: first, timeout: 0 });
  // As the agent may do it: the new one is made while the old one's record is still there.
  const second = await start(shim, sandbox, 1);
  await shim.cri.runtime.removeContainer({ containerId: first });
  assert.equal(
    await shim.exec(second, 'sh', '-c', 'cat /note; stat -c %a /; test -e /bin/true || echo gone'),
    'kept\n700\ngone',
  );
  await shim.cri.runtime.removePodSandbox({ podSandboxId: sandbox });
  assert.equal(overlaysOf(shim), 0);
  assert.deepEqual((await shim.cri.node.listRootFilesystems({})).keys, ['u1.abc']);
  await shim.kill();
  await shim.start();
  const other = await shim.runSandbox('two');
  const third = await start(shim, other, 0);
  assert.equal(await shim.exec(third, 'cat', '/note'), 'kept');
  await shim.cri.runtime.removePodSandbox({ podSandboxId: other });
  await shim.cri.node.removeRootFilesystem({ key: 'u1.abc' });
  await shim.cri.node.removeRootFilesystem({ key: 'u1.abc' });
  assert.deepEqual([layersOf(shim), overlaysOf(shim)], [[], 0]);
});

test('another image starts anew; without a key nothing stays', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const sandbox = await shim.runSandbox('one');
  const first = await start(shim, sandbox, 0);
  await shim.exec(first, 'touch', '/note');
  await shim.cri.runtime.removeContainer({ containerId: first });
  await shim.importImage(busyboxFiles(), { Cmd: ['sh'], Env: ['OTHER=1'] }, 'windlass.local/other:1');
  const second = await start(shim, sandbox, 1, 'windlass.local/other:1');
  assert.equal(await shim.exec(second, 'sh', '-c', 'test -e /note || echo anew'), 'anew');
  await shim.cri.runtime.removeContainer({ containerId: second });
  await shim.cri.node.removeRootFilesystem({ key: 'u1.abc' });
  const plain = await shim.create(sandbox, { command: ['true'], metadata: { name: 'plain', attempt: 0 } });
  await shim.cri.runtime.removeContainer({ containerId: plain });
  assert.deepEqual(layersOf(shim), []);
});

test('layers that a reboot left without a container go when the shim starts; keyed ones stay', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const folder = join(paths.snapshots(shim.instance), 'containers');
  await shim.stop();
  for (const name of ['0123abcd', 'kept.u2.abc']) {
    mkdirSync(join(folder, name, 'upper'), { recursive: true });
    writeFileSync(join(folder, name, 'record.json'), JSON.stringify({ imageId: 'sha256:x', chain: [] }));
  }
  await shim.start();
  assert.deepEqual(layersOf(shim), ['kept.u2.abc']);
  assert.ok(existsSync(join(folder, 'kept.u2.abc', 'upper')));
});

test('a key that is no name is refused', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const sandbox = await shim.runSandbox('one');
  const config = { ...sleeper(0), annotations: { 'runtime.windlass.dev/rootfs-key': '../x' } };
  await assert.rejects(shim.create(sandbox, config), /rootfs-key: invalid key/);
});

test('nothing is made in the writable layer for what every container has mounted; what an image says of it stays', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const upperOf = (id: string): string => join(paths.snapshots(shim.instance), 'containers', id, 'upper');
  const look = 'stat -c "%n %a %u" / /etc; head -n 1 /etc/hosts; ls /etc';
  const plain = await shim.run('plain', { command: ['sleep', '1000'] });
  assert.deepEqual(readdirSync(upperOf(plain)), []);
  await shim.exec(plain, 'sh', '-c', look);
  await shim.importImage(
    [
      ...busyboxFiles().filter(({ name }) => !name.startsWith('etc')),
      { name: 'etc', type: 'directory', mode: 0o750, uid: 7 },
      { name: 'etc/mine', content: 'x' },
    ],
    { Cmd: ['sh'] },
    'windlass.local/own-etc:1',
  );
  const own = await shim.run('own', { image: { image: 'windlass.local/own-etc:1' }, command: ['sleep', '1000'] });
  const seen = await shim.exec(own, 'sh', '-c', look);
  assert.deepEqual(seen.split('\n'), [
    ...['/ 755 0', '/etc 750 7', '127.0.0.1\tlocalhost', 'hostname', 'hosts', 'mine', 'resolv.conf'],
  ]);
  assert.deepEqual(readdirSync(upperOf(own)), []);
});
