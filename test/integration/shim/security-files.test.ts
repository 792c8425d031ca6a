// Bad input that aims at the host's files through roots, mounts and paths: a test for each class, by its name. Each shows
// that the host is untouched.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import { takeHostSnapshot } from '../../support/host-snapshot.ts';
import { link, startHostileShim, without, type HostileShim } from '../../support/hostile.ts';
import { busyboxFiles, type TarItem } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';
import { readKernelText } from '../../../lib/kernel-file.ts';

/** How often a race is run. */
const RACES = process.env['WINDLASS_LONG'] === '1' ? 100 : 8;

let hostile: HostileShim;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (isRoot) hostile = await startHostileShim('files');
});
after(async () => {
  if (isRoot) await hostile[Symbol.asyncDispose]();
});

test('leaked fd + cwd', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, start } = hostile;
  const image = await shim.importImage([...busyboxFiles(), link('escape', '/proc/self/fd/7')]);
  const numbers = Array.from({ length: 28 }, (_, index) => `/proc/self/fd/${index + 3}`);
  for (const workingDir of [...numbers, '/proc/self/fd/30/..//../proc/1', '/escape', '/escape/x', 'relative']) {
    await assert.rejects(create({ image: { image }, workingDir }), { reason: 'Invalid' }, workingDir);
  }
  const id = await start({ workingDir: '/home-of-it' });
  assert.match(await shim.exec(id, 'sh', '-c', 'ls /proc/1/fd | tr "\\n" " "'), /^0 1 2\s*$/);
  // The shell's own, not those of ls, which has the folder open; without a pipe, which the shell would have open.
  const listOwn = ['sh', '-c', 'ls /proc/$$/fd; true'];
  assert.equal(await shim.exec(id, ...listOwn), '0\n1\n2', 'exec');
  const first = await start({ command: listOwn });
  await shim.waitForExit(first);
  assert.deepEqual(await shim.readLog(first), ['0', '1', '2'], 'first program');
  // An exec starts in the container's working directory, which the container has replaced meanwhile.
  await shim.exec(id, 'sh', '-c', 'cd / && rmdir /home-of-it && ln -s /proc/self/fd/7 /home-of-it');
  await assert.rejects(shim.exec(id, 'pwd'), { reason: 'Invalid' });
});

test('runtime overwrite', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, start, tryScript } = hostile;
  const programs = ['runc', 'crun', 'conmon', 'catatonit']
    .flatMap((name) => findProgram(name) ?? [])
    .map((file) => realpathSync(file));
  assert.ok(programs.length >= 3, programs.join());
  const hash = () => programs.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  const before = hash();
  const image = await shim.importImage([...busyboxFiles(), link('evil', '/proc/self/exe')]);
  // One program that is the runtime itself, and one that writes to whatever runtime comes into its container.
  const overwrite = 'for i in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do echo x > $p/exe; done; sleep 0.1; done';
  await start({ image: { image }, command: ['/evil'] }).catch(() => undefined);
  const id = await start({ image: { image }, command: ['sh', '-c', `(${overwrite}) 2>/dev/null; sleep 1000`] });
  for (const cmd of [['/evil'], ['/evil', '--version']]) {
    await shim.cri.runtime.execSync({ containerId: id, cmd, timeout: 5 }).catch(() => undefined);
  }
  assert.notEqual(await tryScript(id, 'echo x > /proc/1/exe'), 0);
  assert.deepEqual(hash(), before);
});

test('symlink exchange in mounts', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, folder, start, create } = hostile;
  const [shared, inner] = [folder('shared'), folder('inner')];
  writeFileSync(join(inner, 'marker'), 'host');
  const host = () => takeHostSnapshot(shim.instance).mounts.filter((line) => line.includes('/inner'));
  const before = host();
  const flip =
    'cd /v; while :; do mkdir t; mv t old; ln -s / t; mv t link; rm -r old link; ln -s ../../.. t; rm t; done';
  const attacker = await start({
    command: ['sh', '-c', `(${flip}) 2>/dev/null`],
    mounts: [{ containerPath: '/v', hostPath: shared }],
  });
  let ran = 0;
  for (let round = 0; round < RACES; round += 1) {
    const id = await create({
      mounts: [
        { containerPath: '/v', hostPath: shared },
        { containerPath: '/v/t', hostPath: inner },
      ],
    }).catch(() => undefined);
    if (id === undefined) continue;
    const { info } = await shim.cri.runtime.containerStatus({ containerId: id, verbose: true });
    const { pid } = JSON.parse(info['info'] ?? '{}') as { pid: number };
    // A created container's mounts are all made: none of them may be the host's root.
    const seen = readKernelText(`/proc/${pid}/mountinfo`).split('\n').filter(Boolean);
    const hostRoot = `${statSync('/').dev >> 8}:${statSync('/').dev & 0xff}`;
    for (const line of seen) {
      const [, , device, root = ''] = line.split(' ');
      assert.ok(device !== hostRoot || root !== '/', line);
    }
    ran += 1;
    await shim.cri.runtime.removeContainer({ containerId: id });
  }
  t.diagnostic(`${ran} of ${RACES} containers could be made`);
  assert.equal((await shim.status(attacker)).state, 'CONTAINER_RUNNING');
  await shim.cri.runtime.removeContainer({ containerId: attacker });
  assert.deepEqual(host(), before);
  assert.deepEqual(readdirSync(inner), ['marker']);
});

async function refuseImages(bad: readonly [string, TarItem[]][]): Promise<void> {
  for (const [name, items] of bad) {
    const image = await hostile.shim.importImage(items);
    await assert.rejects(
      hostile.create({ image: { image } }),
      { reason: 'Invalid', message: new RegExp(name) },
      `${name} ${items.at(-1)?.linkName}`,
    );
  }
}

test('/proc or /sys as symlink', async (t) => {
  if (!requireRoot(t)) return;
  const { create, folder } = hostile;
  await refuseImages([
    ['/proc', [...without('proc'), link('proc', '/etc')]],
    ['/proc', [...without('proc'), { name: 'proc', content: 'a file' }]],
    ['/sys', [...without('sys'), link('sys', '/tmp')]],
    ['/sys', [...without('sys'), link('sys', 'proc/self/root/sys')]],
  ]);
  // Nor by a volume in their place.
  for (const containerPath of ['/proc', '/sys', '/sys/fs', '/sys/fs/cgroup']) {
    await assert.rejects(
      create({ mounts: [{ containerPath, hostPath: folder('volume') }] }),
      { reason: 'Invalid' },
      containerPath,
    );
  }
});

test('/dev tricks', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, start, folder } = hostile;
  const target = '/proc/sys/kernel/core_pattern';
  const before = readFileSync(target, 'utf8');
  await refuseImages([
    ['/dev', [...without('dev'), link('dev', '/tmp')]],
    ['/dev', [...without('dev'), link('dev', '/proc/sys/kernel')]],
    ['/dev/null', [...busyboxFiles(), link('dev/null', target)]],
    ['/dev/console', [...busyboxFiles(), link('dev/console', '/proc/sysrq-trigger')]],
    ['/dev/pts', [...busyboxFiles(), link('dev/pts', '/proc/sys/kernel')]],
    ['/dev/pts/0', [...busyboxFiles(), { name: 'dev/pts/', type: 'directory' }, link('dev/pts/0', target)]],
    ['/dev/shm', [...busyboxFiles(), link('dev/shm', '/proc/self')]],
  ]);
  // What another container can change while this one is made must not lie where the runtime works.
  const image = await shim.importImage([...busyboxFiles(), link('d', '/dev')]);
  const volume = folder('dev-volume');
  const taken = ['/dev', '/dev/', '/d', '/dev/null', '/d/null', '/dev/console', '/dev/pts', '/dev/pts/0', '/dev/ptmx'];
  for (const containerPath of taken) {
    const mounts = [{ containerPath, hostPath: volume }];
    await assert.rejects(create({ image: { image }, mounts }), { reason: 'Invalid' }, containerPath);
  }
  // The racing variant, as far as it can be brought: a volume below /dev whose owner swaps what is in it.
  const flip = `cd /v; while :; do ln -s ${target} null; ln -s ${target} pts; rm null pts; mkdir pts null; rmdir pts null; done`;
  await start({ command: ['sh', '-c', flip], mounts: [{ containerPath: '/v', hostPath: volume }] });
  for (let round = 0; round < RACES; round += 1) {
    const mounts = [{ containerPath: '/dev/data', hostPath: volume }];
    const id = await start({ mounts, tty: round % 2 === 1 });
    const devices = ['sh', '-c', 'grep " /dev " /proc/mounts | cut -d" " -f3; stat -c %t:%T /dev/null'];
    assert.equal((await shim.exec(id, ...devices)).replaceAll('\r', ''), 'tmpfs\n1:3');
    assert.notEqual(await hostile.tryScript(id, 'echo x > /proc/sys/kernel/core_pattern'), 0);
    await shim.cri.runtime.removeContainer({ containerId: id });
  }
  assert.equal(readFileSync(target, 'utf8'), before);
});

test('LSM label write redirect', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, folder } = hostile;
  const image = await shim.importImage([...busyboxFiles(), link('p', '/proc'), link('q', 'p/self')]);
  const hostPath = folder('attr');
  for (const containerPath of [
    ...['/proc/self/attr', '/proc/thread-self/attr', '/proc/sys', '/proc/sys/kernel', '/proc/1'],
    ...['/p', '/p/self/attr', '/q/attr', '/x/../proc/self/attr', '/proc/../proc/sys', '//proc//self//attr'],
  ]) {
    const mounts = [{ containerPath, hostPath }];
    await assert.rejects(create({ image: { image }, mounts }), { reason: 'Invalid' }, containerPath);
    const tmpfs = JSON.stringify([{ path: containerPath }]);
    const annotations = { 'runtime.windlass.dev/tmpfs': tmpfs };
    await assert.rejects(create({ image: { image }, annotations }), { reason: 'Invalid' }, `tmpfs ${containerPath}`);
  }
  assert.deepEqual(readdirSync(hostPath), []);
});

test('empty files on host', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, start, folder } = hostile;
  const root = dirname(shim.instance.home);
  const image = await shim.importImage([...busyboxFiles(), link('out', '../../../../..'), link('abs', root)]);
  const source = folder('source');
  writeFileSync(join(source, 'file'), '');
  for (const hostPath of [source, join(source, 'file')]) {
    for (const containerPath of ['/out/windlass-made', '/abs/windlass-made', '/../../windlass-made']) {
      const id = await start({ image: { image }, mounts: [{ containerPath, hostPath }] });
      await shim.exec(id, 'test', '-e', containerPath);
      for (const made of ['/windlass-made', join(root, 'windlass-made')]) assert.ok(!existsSync(made), made);
    }
  }
  await assert.rejects(create({ mounts: [{ containerPath: '/a', hostPath: '/no/such' }] }), { reason: 'NotFound' });
  assert.ok(!existsSync('/no'));
});

test('masked-path bypass', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, start, folder, tryScript } = hostile;
  for (const containerPath of ['/proc', '/proc/../proc', '/proc/../proc/kcore', '/x/../proc/keys', '/', 'relative']) {
    await assert.rejects(
      create({ mounts: [{ containerPath, hostPath: folder('x') }] }),
      { reason: 'Invalid' },
      containerPath,
    );
  }
  // A request that names no path to mask does not unmask any: the runtime's own list always stands.
  const id = await start({
    linux: { securityContext: { maskedPaths: ['/etc/passwd', '/tmp'], readonlyPaths: ['/home', '/no/such'] } },
  });
  const masked = ['/etc/passwd', '/proc/kcore', '/proc/keys', '/proc/timer_list'].filter((path) => existsSync(path));
  assert.equal(await shim.exec(id, 'cat', ...masked), '');
  assert.equal(await shim.exec(id, 'ls', '/sys/firmware', '/tmp'), '/sys/firmware:\n\n/tmp:');
  for (const script of ['echo x > /proc/sys/kernel/panic', 'echo b > /proc/sysrq-trigger', 'echo > /proc/irq/x']) {
    assert.notEqual(await tryScript(id, script), 0, script);
  }
});

test('mtab/resolv links', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, start } = hostile;
  const outside = join(dirname(shim.instance.home), 'outside');
  const image = await shim.importImage(
    [
      ...without('etc/hosts', 'etc/hostname'),
      ...[link('etc/resolv.conf', `${outside}/resolv`), link('etc/hosts', `${outside}/hosts`)],
      ...[link('etc/mtab', '/outside-mtab'), link('etc/hostname', '../../../../outside-hostname')],
      link('work', `${outside}/work`),
    ],
    { Cmd: ['sh'], WorkingDir: '/work/below' },
  );
  const id = await start({ image: { image } });
  assert.equal(await shim.exec(id, 'pwd'), `${outside}/work/below`);
  assert.match(await shim.exec(id, 'cat', '/etc/hosts'), /localhost/);
  for (const made of [outside, '/outside-mtab', '/outside-hostname']) assert.ok(!existsSync(made), made);
});

test('image VOLUME traversal', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, folder } = hostile;
  const host = folder('host-data');
  writeFileSync(join(host, 'secret'), 'secret');
  const image = await shim.importImage([
    ...busyboxFiles(),
    ...[link('abs', host), link('up', '../../../../../../../../etc'), { name: 'data/file', content: 'x' }],
    ...[link('data/out', host), link('data/passwd', '/etc/passwd')],
  ]);
  const copy = (imagePath: string, name: string) => {
    const destination = folder(name);
    return shim.cri.node.copyUp({ image, imagePath, destination }).then(({ copied }) => ({ copied, destination }));
  };
  for (const imagePath of ['/abs', `/../../..${host}`, '/data/out', '/no/such']) {
    const { copied, destination } = await copy(imagePath, `volume-${Math.random()}`);
    assert.deepEqual([copied, readdirSync(destination)], [false, []], imagePath);
  }
  // Through a link that leads to a folder of the image: that one's files, not the host's.
  const etc = await copy('/up', 'volume-etc');
  assert.equal(readFileSync(join(etc.destination, 'passwd'), 'utf8').includes('nobody'), true);
  assert.ok(!existsSync(join(etc.destination, 'machine-id')));
  const data = await copy('/data', 'volume-data');
  assert.equal(readlinkSync(join(data.destination, 'out')), host, 'copied as a link');
  assert.ok(lstatSync(join(data.destination, 'passwd')).isSymbolicLink());
  assert.equal(readFileSync(join(host, 'secret'), 'utf8'), 'secret');
});

test('log path', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, create, start } = hostile;
  for (const logPath of ['../../x', '/etc/x', 'a/../../x', 'a//b', 'a\nb', './x', '..', 'a\0b']) {
    await assert.rejects(create({ logPath }), { reason: 'Invalid' }, logPath);
  }
  const folder = join(shim.logs, 'files');
  const victim = join(dirname(shim.logs), 'victim');
  writeFileSync(victim, 'mine');
  mkdirSync(folder, { recursive: true });
  symlinkSync(victim, join(folder, 'link.log'));
  symlinkSync(dirname(victim), join(folder, 'dir'));
  await assert.rejects(create({ logPath: 'link.log' }), { reason: 'Invalid' });
  await assert.rejects(create({ logPath: 'dir/victim' }), { reason: 'Invalid' });
  await assert.rejects(create({ logPath: 'dir/new' }), { reason: 'Invalid' });
  const id = await start({ logPath: 'sub/folder/ok.log', command: ['echo', 'fine'] });
  await shim.waitForExit(id);
  assert.deepEqual(await shim.readLog(id), ['fine']);
  assert.equal(readFileSync(victim, 'utf8'), 'mine');
  assert.ok(!existsSync(join(dirname(victim), 'new')));
  rmSync(join(folder, 'link.log'));
});

test('file modes', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, start, sandbox } = hostile;
  const { home, run } = shim.instance;
  const image = await shim.importImage([...busyboxFiles(), { name: 'setuid', content: '#!/bin/sh\n', mode: 0o4755 }]);
  const id = await start({ image: { image }, envs: [{ key: 'PASSWORD', value: Buffer.from('secret') }] });
  const asNobody = (...command: string[]): string => {
    const dropped = ['--reuid', '65534', '--regid', '65534', '--clear-groups', ...command];
    try {
      return execFileSync('setpriv', dropped, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch (error) {
      return (error as { stdout?: string }).stdout ?? '';
    }
  };
  assert.equal(asNobody('find', home, run, '-type', 'f', '-readable'), '', 'nothing is found by walking');
  const state = paths.shimState(shim.instance);
  const { info } = await shim.cri.runtime.containerStatus({ containerId: id, verbose: true });
  const { bundle } = JSON.parse(info['info'] ?? '{}') as { bundle: string };
  assert.match(readFileSync(join(bundle, 'config.json'), 'utf8'), /PASSWORD=secret/);
  // Nor by who knows the names.
  for (const file of [
    join(bundle, 'config.json'),
    join(state, 'containers', `${id}.json`),
    join(state, 'sandboxes', `${sandbox}.json`),
    join(home, 'snapshots', 'containers', id, 'merged', 'setuid'),
    join(home, 'snapshots', 'containers', id, 'upper'),
  ]) {
    assert.ok(existsSync(file), file);
    assert.equal(
      asNobody('sh', '-c', 'test -r "$1" && echo readable; test -x "$1" && echo runs', 'sh', file),
      '',
      file,
    );
  }
  assert.equal(statSync(paths.criSocket(shim.instance)).mode & 0o777, 0o600);
});
