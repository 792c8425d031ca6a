// Bad inputs of images and callers, one test per class; see docs on security for the list.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import { requireRoot } from '../../support/require.ts';
import { busyboxFiles, type TarItem } from '../../support/images.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';

let shim: TestShim;
let sandbox: string;
let count = 0;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  sandbox = await shim.runSandbox('security');
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

type Config = Parameters<TestShim['create']>[1];
const create = (config: Config): Promise<string> => {
  count += 1;
  return shim.create(sandbox, {
    metadata: { name: `c${count}`, attempt: 0 },
    logPath: `${count}.log`,
    command: ['sleep', '1000'],
    ...config,
  });
};
const start = async (config: Config): Promise<string> => {
  const containerId = await create(config);
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
};
const without = (...names: string[]): TarItem[] =>
  busyboxFiles().filter(({ name }) => !names.includes(name.replace(/\/$/, '')));
const link = (name: string, linkName: string): TarItem => ({ name, type: 'symlink', linkName });

test('leaked fd + cwd', async (t) => {
  if (!requireRoot(t)) return;
  const image = await shim.importImage([...busyboxFiles(), link('escape', '/proc/self/fd/7')]);
  for (const workingDir of ['/proc/self/fd/3', '/proc/self/fd/30/..//../proc/1', '/escape', 'relative']) {
    await assert.rejects(create({ image: { image }, workingDir }), { reason: 'Invalid' }, workingDir);
  }
  const id = await start({});
  assert.match(await shim.exec(id, 'sh', '-c', 'ls /proc/1/fd | tr "\\n" " "'), /^0 1 2\s*$/);
  // The shell's own, not those of ls, which has the folder open; without a pipe, which the shell would have open.
  const listOwn = ['sh', '-c', 'ls /proc/$$/fd; true'];
  assert.equal(await shim.exec(id, ...listOwn), '0\n1\n2', 'exec');
  const first = await start({ command: listOwn });
  await shim.waitForExit(first);
  assert.deepEqual(await shim.readLog(first), ['0', '1', '2'], 'first program');
});

test('runtime overwrite', async (t) => {
  if (!requireRoot(t)) return;
  const programs = ['runc', 'crun', 'conmon']
    .flatMap((name) => findProgram(name) ?? [])
    .map((file) => realpathSync(file));
  assert.ok(programs.length >= 2, programs.join());
  const hash = () => programs.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  const before = hash();
  const image = await shim.importImage([...busyboxFiles(), link('evil', '/proc/self/exe')]);
  // One program that is the runtime itself, and one that writes to whatever runtime comes into its container.
  const overwrite = 'for i in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do echo x > $p/exe; done; sleep 0.1; done';
  await start({ image: { image }, command: ['/evil'] }).catch(() => undefined);
  const id = await start({ image: { image }, command: ['sh', '-c', `(${overwrite}) 2>/dev/null; sleep 1000`] });
  await shim.cri.runtime.execSync({ containerId: id, cmd: ['/evil'], timeout: 5 }).catch(() => undefined);
  await shim.cri.runtime.execSync({ containerId: id, cmd: ['/evil', '--version'], timeout: 5 }).catch(() => undefined);
  await shim.exec(id, 'sh', '-c', 'echo x > /proc/1/exe || true');
  assert.deepEqual(hash(), before);
});

test('/proc or /sys as symlink; /dev tricks', async (t) => {
  if (!requireRoot(t)) return;
  const bad: [string, TarItem[]][] = [
    ['/proc', [...without('proc'), link('proc', '/etc')]],
    ['/sys', [...without('sys'), link('sys', '/tmp')]],
    ['/dev', [...without('dev'), link('dev', '/tmp')]],
    ['/dev/null', [...busyboxFiles(), link('dev/null', '/proc/sys/kernel/core_pattern')]],
    ['/dev/console', [...busyboxFiles(), link('dev/console', '/proc/sysrq-trigger')]],
    ['/proc', [...without('proc'), { name: 'proc', content: 'a file' }]],
  ];
  for (const [name, items] of bad) {
    const image = await shim.importImage(items);
    await assert.rejects(create({ image: { image } }), { reason: 'Invalid', message: new RegExp(name) });
  }
});

test('empty files on host; masked-path bypass; LSM label write redirect', async (t) => {
  if (!requireRoot(t)) return;
  const root = dirname(shim.instance.home);
  const image = await shim.importImage([...busyboxFiles(), link('out', '../../../../..'), link('abs', root)]);
  const source = join(root, 'source');
  mkdirSync(source, { recursive: true });
  for (const containerPath of ['/out/windlass-made', `/abs/windlass-made`, '/../../windlass-made']) {
    const id = await start({ image: { image }, mounts: [{ containerPath, hostPath: source }] });
    await shim.exec(id, 'test', '-d', containerPath);
    for (const made of ['/windlass-made', join(root, 'windlass-made')]) assert.ok(!existsSync(made), made);
  }
  for (const containerPath of ['/proc', '/proc/sys/kernel', '/x/../proc/self/attr', '/', 'relative']) {
    await assert.rejects(
      create({ mounts: [{ containerPath, hostPath: source }] }),
      { reason: 'Invalid' },
      containerPath,
    );
  }
  await assert.rejects(create({ mounts: [{ containerPath: '/a', hostPath: '/no/such' }] }), { reason: 'NotFound' });
});

test('cgroup escape; inheritable capabilities; default rights', async (t) => {
  if (!requireRoot(t)) return;
  const id = await start({});
  const { runtime } = shim.cri;
  for (const script of [
    'mkdir /tmp/c; mount -t cgroup -o rdma cgroup /tmp/c',
    'unshare -m true',
    'echo 1 > /proc/sys/kernel/panic',
    'mkdir /sys/fs/cgroup/memory/x',
  ]) {
    const result = await runtime.execSync({ containerId: id, cmd: ['sh', '-c', script], timeout: 10 });
    assert.notEqual(result.exitCode, 0, script);
  }
  const caps = await shim.exec(
    id,
    'sh',
    '-c',
    'grep -E "CapInh|CapBnd|Seccomp:" /proc/self/status; cat /proc/1/status | grep CapInh',
  );
  assert.match(caps, /CapInh:\t0{16}\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\nCapInh:\t0{16}/);
});

test('sysctl injection', async (t) => {
  if (!requireRoot(t)) return;
  const run = (sysctls: Record<string, string>, network: 'POD' | 'NODE' = 'POD') =>
    shim.runSandbox(`sysctl-${(count += 1)}`, {
      linux: { sysctls, securityContext: { namespaceOptions: { network, pid: 'CONTAINER', ipc: 'POD' } } },
    });
  for (const value of ['1+kernel.core_pattern=|/x', '1\nkernel.panic=1', '1 kernel.panic=1', '']) {
    await assert.rejects(run({ 'kernel.shm_rmid_forced': value }), { reason: 'Invalid' });
  }
  await assert.rejects(run({ 'kernel.core_pattern': 'x' }), { reason: 'Forbidden' });
  await assert.rejects(run({ 'net.ipv4.ip_forward': '1' }, 'NODE'), { reason: 'Forbidden' });
  const podSandboxId = await run({ 'kernel.shm_rmid_forced': '1' });
  const containerId = await shim.create(podSandboxId, { command: ['sleep', '1000'] });
  await shim.cri.runtime.startContainer({ containerId });
  assert.equal(await shim.exec(containerId, 'cat', '/proc/sys/kernel/shm_rmid_forced'), '1');
});

test('env/HOME to passwd; uid overflow; supplementary groups', async (t) => {
  if (!requireRoot(t)) return;
  const env = (key: string, value: string) => ({ envs: [{ key, value: Buffer.from(value) }] });
  for (const value of ['/x\nroot2::0:0::/:/bin/sh', '/x\\nroot2::0:0', '/x:/bin/sh']) {
    await assert.rejects(create(env('HOME', value)), { reason: 'Invalid' });
  }
  for (const User of ['4294967296', '2147483648:0', '-1', '+0', '1000:abc', 'nobody\nroot', ':0', '1000:']) {
    const image = await shim.importImage(busyboxFiles(), { Cmd: ['sh'], User });
    await assert.rejects(create({ image: { image } }), { reason: 'Invalid' }, User);
  }
  const group = { name: 'etc/group', content: 'root:x:0:\nextra:x:50000:nobody\n' };
  const image = await shim.importImage([...without('etc/group'), group], { Cmd: ['sh'], User: 'nobody' });
  const id = await start({ image: { image }, linux: { securityContext: { supplementalGroups: [77] } } });
  assert.equal(await shim.exec(id, 'id', '-G'), '65534 77 50000');
  assert.deepEqual((await shim.status(id)).user?.linux, {
    uid: 65534,
    gid: 65534,
    supplementalGroups: [77, 50000, 65534],
  });
});

test('log path', async (t) => {
  if (!requireRoot(t)) return;
  for (const logPath of ['../../x', '/etc/x', 'a/../../x', 'a//b', 'a\nb']) {
    await assert.rejects(create({ logPath }), { reason: 'Invalid' }, logPath);
  }
  const folder = join(shim.logs, 'security');
  const victim = join(dirname(shim.logs), 'victim');
  writeFileSync(victim, 'mine');
  symlinkSync(victim, join(folder, 'link.log'));
  symlinkSync(dirname(victim), join(folder, 'dir'));
  await assert.rejects(create({ logPath: 'link.log' }), { reason: 'Invalid' });
  await assert.rejects(create({ logPath: 'dir/victim' }), { reason: 'Invalid' });
  assert.equal(readFileSync(victim, 'utf8'), 'mine');
  rmSync(join(folder, 'link.log'));
});

test('mtab/resolv links; image labels are data', async (t) => {
  if (!requireRoot(t)) return;
  const outside = join(dirname(shim.instance.home), 'resolv-target');
  const image = await shim.importImage(
    [...busyboxFiles(), link('etc/resolv.conf', outside), link('etc/mtab', '/outside-mtab')],
    {
      Cmd: ['sh'],
      Labels: { 'runtime.windlass.dev/init': 'true', 'run.oci.hooks': 'x' },
    },
  );
  const id = await start({ image: { image } });
  assert.ok(!existsSync(outside) && !existsSync('/outside-mtab'));
  assert.match(await shim.exec(id, 'cat', '/proc/1/comm'), /sleep/);
});

test('resource limits: fork bomb; execSync that prints without end', async (t) => {
  if (!requireRoot(t)) return;
  const id = await start({ linux: { resources: { unified: { 'pids.max': '30' } } } });
  await shim.cri.runtime
    .execSync({
      containerId: id,
      cmd: ['sh', '-c', 'i=0; while [ $i -lt 200 ]; do sleep 100 & i=$((i+1)); done'],
      timeout: 3,
    })
    .catch(() => undefined);
  const { stats } = await shim.cri.runtime.podSandboxStats({ podSandboxId: sandbox });
  assert.ok((stats?.linux?.process?.processCount?.value ?? 0) < 200);
  const noisy = await start({});
  const result = await shim.cri.runtime.execSync({
    containerId: noisy,
    cmd: ['sh', '-c', 'head -c 40000000 /dev/zero'],
    timeout: 30,
  });
  assert.equal(result.stdout.length, 16 * 1024 * 1024);
});

test('what is not supported is refused by name', async (t) => {
  if (!requireRoot(t)) return;
  const security = (securityContext: NonNullable<NonNullable<Config['linux']>['securityContext']>): Config => ({
    linux: { securityContext },
  });
  const cases: [Config, RegExp][] = [
    [security({ selinuxOptions: { level: 's0' } }), /selinux/],
    [security({ apparmorProfile: 'localhost/x' }), /AppArmor/],
    [security({ capabilities: { addCapabilities: ['NOPE'] } }), /NOPE/],
    [security({ runAsGroup: { value: 5 } }), /run_as_group/],
    [{ CDIDevices: [{ name: 'a/b=c' }] }, /CDI/],
    [
      { mounts: [{ containerPath: '/a', hostPath: '/tmp', readonly: true, recursiveReadOnly: true }] },
      /recursive_read_only/,
    ],
    [{ devices: [{ hostPath: '/etc/passwd', containerPath: '/dev/x', permissions: 'r' }] }, /not a device/],
  ];
  for (const [config, message] of cases) await assert.rejects(create(config), { message });
  await assert.rejects(
    shim.cri.runtime.runPodSandbox({ config: { metadata: { name: 'x' } }, runtimeHandler: 'kata' }),
    { message: /kata/ },
  );
});
