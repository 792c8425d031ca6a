// Bad input that aims at rights, identities and limits: a test for each class, by its name. Each shows that the host is
// untouched. Files and mounts are in security-files.test.ts.
import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { identifyProcess, isRunning } from '../../../lib/process-identity.ts';
import type { ContainerRecord } from '../../../runtime-shim/store/records.ts';
import { startHostileShim, without, type HostileShim } from '../../support/hostile.ts';
import { busyboxFiles } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';
import type { TestShim } from '../../support/shim.ts';
import { readKernelText } from '../../../lib/kernel-file.ts';

let hostile: HostileShim;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (isRoot) hostile = await startHostileShim('rights');
});
after(async () => {
  if (isRoot) await hostile[Symbol.asyncDispose]();
});
let count = 0;
type Config = Parameters<TestShim['create']>[1];
const create = (config: Config): Promise<string> => hostile.create(config);
const start = (config: Config): Promise<string> => hostile.start(config);
const security = (securityContext: NonNullable<NonNullable<Config['linux']>['securityContext']>): Config => ({
  linux: { securityContext },
});
const bundleOf = (containerId: string): string => join(paths.shimState(hostile.shim.instance), 'b', containerId);

test('cgroup escape', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, tryScript } = hostile;
  const agent = '/sys/fs/cgroup/memory/release_agent';
  const before = existsSync(agent) ? readFileSync(agent, 'utf8') : '';
  // Plain, and with a filter that would let mount(2) and unshare(2) through.
  for (const config of [{}, security({ seccomp: { profileType: 'Unconfined' } })]) {
    const id = await start(config);
    for (const script of [
      'mkdir -p /tmp/c; mount -t cgroup -o rdma cgroup /tmp/c',
      'mkdir -p /tmp/c; mount -t cgroup2 none /tmp/c',
      'unshare -m true',
      'cd /sys/fs/cgroup; cd memory; mkdir x',
      'echo 1 > /sys/fs/cgroup/memory/notify_on_release',
      'echo /x > /sys/fs/cgroup/memory/release_agent',
    ]) {
      assert.notEqual(await tryScript(id, script), 0, script);
    }
    const groups = await shim.exec(id, 'cat', '/proc/1/cgroup');
    for (const line of groups.split('\n')) assert.match(line, /^\d+:[^:]*:\/$/, 'a cgroup namespace of its own');
    const mounts = (await shim.exec(id, 'grep', 'cgroup', '/proc/mounts')).split('\n');
    for (const line of mounts.filter((text) => / cgroup2? /.test(text))) assert.match(line, / ro,/);
  }
  assert.equal(existsSync(agent) ? readFileSync(agent, 'utf8') : '', before);
});

test('sysctl injection', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
  const run = (sysctls: Record<string, string>, network: 'POD' | 'NODE' = 'POD', ipc: 'POD' | 'NODE' = 'POD') =>
    shim.runSandbox(`sysctl-${(count += 1)}`, {
      linux: { sysctls, securityContext: { namespaceOptions: { network, pid: 'CONTAINER', ipc } } },
    });
  for (const value of ['1+kernel.core_pattern=|/x', '1\nkernel.panic=1', '1 kernel.panic=1', '1\0', '']) {
    await assert.rejects(run({ 'kernel.shm_rmid_forced': value }), { reason: 'Invalid' });
  }
  for (const key of ['kernel/../core_pattern', 'kernel.shm_rmid_forced\nx', '../kernel.core_pattern', 'net', '']) {
    await assert.rejects(
      run({ [key]: '1' }),
      (error: { reason?: string }) => ['Invalid', 'Forbidden'].includes(error.reason ?? ''),
      key,
    );
  }
  await assert.rejects(run({ 'kernel.core_pattern': 'x' }), { reason: 'Forbidden' });
  await assert.rejects(run({ 'net.ipv4.ip_forward': '1' }, 'NODE'), { reason: 'Forbidden' });
  await assert.rejects(run({ 'fs.mqueue.msg_max': '20' }, 'POD', 'NODE'), { reason: 'Forbidden' });
  const podSandboxId = await run({ 'kernel.shm_rmid_forced': '1', 'fs.mqueue.msg_max': '100' });
  const containerId = await shim.create(podSandboxId, { command: ['sleep', '1000'] });
  await shim.cri.runtime.startContainer({ containerId });
  const files = ['/proc/sys/kernel/shm_rmid_forced', '/proc/sys/fs/mqueue/msg_max'];
  assert.equal(await shim.exec(containerId, 'cat', ...files), '1\n100');
  assert.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), before);
});

test('env/HOME to passwd', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  const home = (value: string) => ({ envs: [{ key: 'HOME', value: Buffer.from(value) }] });
  for (const value of ['/x\nroot2::0:0::/:/bin/sh', '/x\\nroot2::0:0', '/x:/bin/sh', '/x\r', '/x\0y']) {
    await assert.rejects(create(home(value)), { reason: 'Invalid' }, JSON.stringify(value));
  }
  for (const runAsUsername of ['nobody\nroot2::0:0', 'a:b:c', ' ', 'nobody\0']) {
    await assert.rejects(create(security({ runAsUsername })), { reason: 'Invalid' }, JSON.stringify(runAsUsername));
  }
  for (const name of ['A=B', '', 'A\0']) {
    await assert.rejects(create({ envs: [{ key: name, value: Buffer.from('x') }] }), { reason: 'Invalid' });
  }
  const passwd = busyboxFiles()
    .find(({ name }) => name === 'etc/passwd')
    ?.content?.toString();
  const id = await start({ ...home('/somewhere'), ...security({ runAsUser: { value: 4711 } }) });
  assert.equal(await shim.exec(id, 'cat', '/etc/passwd'), passwd?.trim(), 'untouched');
});

test('uid overflow', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  const users = ['4294967296', '4294967295', '2147483648:0', '0:4294967296', '-1', '+0', ' 0', '0x0', '1000:abc'];
  for (const User of [...users, 'nobody\nroot', ':0', '1000:', 'no-such-user', '00000000004294967296']) {
    const image = await shim.importImage(busyboxFiles(), { Cmd: ['sh'], User });
    await assert.rejects(create({ image: { image } }), { reason: 'Invalid' }, User);
  }
  for (const value of [-1, 2 ** 31, 2 ** 32]) {
    await assert.rejects(create(security({ runAsUser: { value } })), { reason: 'Invalid' }, String(value));
    const group = { runAsUser: { value: 1 }, runAsGroup: { value } };
    await assert.rejects(create(security(group)), { reason: 'Invalid' }, String(value));
    await assert.rejects(create(security({ supplementalGroups: [value] })), { reason: 'Invalid' }, String(value));
  }
});

test('supplementary groups', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, tryScript } = hostile;
  const image = await shim.importImage(
    [
      ...without('etc/group'),
      { name: 'etc/group', content: 'root:x:0:\nextra:x:50000:nobody\nother:x:50001:\n' },
      { name: 'of-extra', content: 'x', mode: 0o040, gid: 50000 },
      { name: 'of-other', content: 'x', mode: 0o2040, gid: 50001 },
    ],
    { Cmd: ['sh'], User: 'nobody' },
  );
  const merged = await start({ image: { image }, ...security({ supplementalGroups: [77] }) });
  assert.equal(await shim.exec(merged, 'id', '-G'), '65534 77 50000');
  const { user } = await shim.status(merged);
  assert.deepEqual(user?.linux, { uid: 65534, gid: 65534, supplementalGroups: [77, 50000, 65534] });
  const strict = await start({
    image: { image },
    ...security({ supplementalGroups: [77], supplementalGroupsPolicy: 'Strict' }),
  });
  assert.equal(await shim.exec(strict, 'id', '-G'), '65534 77');
  const reads = async (id: string, file: string): Promise<boolean> => (await tryScript(id, `cat ${file}`)) === 0;
  assert.deepEqual(await Promise.all([merged, strict].map((id) => reads(id, '/of-extra'))), [true, false]);
  assert.deepEqual(await Promise.all([merged, strict].map((id) => reads(id, '/of-other'))), [false, false]);
  // The primary group is among the groups, so a program that drops it gains nothing.
  assert.match(await shim.exec(strict, 'grep', 'Groups', '/proc/1/status'), /\b65534\b/);
});

test('inheritable capabilities', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  const id = await start({});
  const read = (pid: string) => shim.exec(id, 'grep', '-E', 'CapInh|CapBnd|CapAmb|Seccomp:', `/proc/${pid}/status`);
  for (const pid of ['1', 'self']) {
    assert.equal(
      await read(pid),
      `CapInh:\t${'0'.repeat(16)}\nCapBnd:\t00000000a80425fb\nCapAmb:\t${'0'.repeat(16)}\nSeccomp:\t2`,
    );
  }
});

test('unit or annotation injection', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  for (const texts of [{ 'a\nb': 'x' }, { 'a\0': 'x' }, { a: 'x\0y' }]) {
    await assert.rejects(create({ labels: texts }), { reason: 'Invalid' });
    await assert.rejects(create({ annotations: texts }), { reason: 'Invalid' });
    await assert.rejects(shim.runSandbox('bad-label', { labels: texts }), { reason: 'Invalid' });
  }
  // What an image or a caller writes under another program's names is data, and reaches no runtime.
  const foreign = {
    'org.systemd.property.ExecStopPost': "[('/bin/sh', ['sh', '-c', 'x'], false)]",
    'run.oci.hooks.stdout': '/tmp/windlass-hook',
    'run.oci.seccomp_bpf_data': 'AAAA',
    'run.oci.handler': 'krun',
    'io.katacontainers.config.hypervisor.path': '/bin/sh',
  };
  const Labels = { ...foreign, 'runtime.windlass.dev/init': 'true', 'runtime.windlass.dev/ulimits': 'not JSON' };
  const image = await shim.importImage(busyboxFiles(), { Cmd: ['sh'], Labels });
  const id = await start({ image: { image }, annotations: foreign, labels: foreign });
  const spec = JSON.parse(readFileSync(join(bundleOf(id), 'config.json'), 'utf8')) as {
    annotations?: Record<string, string>;
  };
  const known = Object.keys(spec.annotations ?? {}).filter((key) => key !== 'run.oci.seccomp_bpf_data');
  assert.deepEqual(known, []);
  assert.notEqual(spec.annotations?.['run.oci.seccomp_bpf_data'], 'AAAA');
  assert.match(await shim.exec(id, 'cat', '/proc/1/comm'), /sleep/, 'no init was put before it');
  assert.ok(!existsSync('/tmp/windlass-hook'));
});

test('CDI / checkpoint metadata', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  await assert.rejects(create({ CDIDevices: [{ name: 'vendor.com/disk=vda' }] }), { message: /CDI/ });
  // An image that says it is a checkpoint, and brings the settings of the container it was: nothing of it is taken.
  const evil = {
    mounts: [{ destination: '/host', source: '/', type: 'bind', options: ['rbind'] }],
    linux: { devices: [{ path: '/dev/disk', type: 'b', major: 254, minor: 0 }] },
    process: { capabilities: { bounding: ['CAP_SYS_ADMIN'] } },
  };
  const Labels = {
    'io.kubernetes.cri-o.annotations.checkpoint.name': 'x',
    'org.criu.checkpoint.container.name': 'x',
    'cdi.k8s.io/gpu': 'vendor.com/disk=vda',
  };
  const image = await shim.importImage(
    [
      ...busyboxFiles(),
      { name: 'spec.dump', content: JSON.stringify(evil) },
      { name: 'config.dump', content: JSON.stringify({ rootfsImageName: 'windlass.local/other:1' }) },
    ],
    { Cmd: ['sh'], Labels },
  );
  const id = await start({ image: { image }, annotations: { 'cdi.k8s.io/gpu': 'vendor.com/disk=vda' } });
  assert.equal((await shim.status(id)).imageId, image);
  assert.equal(await hostile.tryScript(id, 'test -e /host || test -e /dev/disk'), 1);
  assert.match(await shim.exec(id, 'grep', 'CapBnd', '/proc/self/status'), /a80425fb/);
});

test('abstract sockets', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, tryScript } = hostile;
  const host = {
    linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } as const } },
  };
  const podSandboxId = await shim.runSandbox('host-network', host);
  const id = await shim.create(podSandboxId, { command: ['sleep', '1000'], ...host });
  await shim.cri.runtime.startContainer({ containerId: id });
  assert.match(
    await shim.exec(id, 'readlink', '/proc/1/ns/net'),
    new RegExp(readlinkSync('/proc/self/ns/net').replace(/[[\]]/g, '\\$&')),
  );
  // A name that begins with @ lies in no file system: whoever is in the network namespace could connect to it.
  const abstract = readKernelText('/proc/net/unix')
    .split('\n')
    .flatMap((line) => /^(?:\S+\s+){6}(\d+)\s+@/.exec(line)?.[1] ?? []);
  const own = [shim.process.pid ?? 0, ...conmonsOf(shim)].flatMap(socketsOf);
  assert.ok(own.length > 0);
  assert.deepEqual(
    own.filter((inode) => abstract.includes(inode)),
    [],
  );
  assert.notEqual(await tryScript(id, `test -e ${paths.criSocket(shim.instance)}`), 0);
});

function conmonsOf({ instance }: TestShim): number[] {
  return globSync(`${paths.shimState(instance)}/b/*/conmon.pid`).map((file) => Number(readFileSync(file, 'utf8')));
}

function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      // Closed since it was listed.
      return [];
    }
  });
}

test('pid reuse', async (t) => {
  if (!requireRoot(t)) return;
  const { shim } = hostile;
  const bystander = await start({});
  const victim = identifyProcess(await pidOf(bystander));
  assert.ok(victim);
  const ids = [await start({}), await start({})];
  // As after a death that nobody saw: the recorded pids are another process's by now.
  await shim.kill();
  for (const id of ids) {
    const file = join(paths.shimState(shim.instance), 'containers', `${id}.json`);
    const record = JSON.parse(readFileSync(file, 'utf8')) as ContainerRecord;
    const recycled = { pid: victim.pid, startTime: (record.init?.startTime ?? 0) - 1 };
    writeFileSync(file, JSON.stringify({ ...record, init: recycled }));
  }
  await shim.start();
  await shim.cri.runtime.stopContainer({ containerId: ids[0] ?? '', timeout: 1 });
  await shim.cri.runtime.removeContainer({ containerId: ids[1] ?? '' });
  await shim.cri.runtime.removeContainer({ containerId: ids[0] ?? '' });
  assert.ok(isRunning(victim), 'the process that has the pid now lives on');
  assert.equal((await shim.status(bystander)).state, 'CONTAINER_RUNNING');
  // Nor is its pid namespace shared in the place of the one that was meant.
  const target = { network: 'POD', ipc: 'POD', pid: 'TARGET', targetId: ids[0] ?? '' } as const;
  await assert.rejects(start(security({ namespaceOptions: target })), { reason: 'NotFound' });
});

async function pidOf(containerId: string): Promise<number> {
  const { info } = await hostile.shim.cri.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
}

test('resource limits', async (t) => {
  if (!requireRoot(t)) return;
  const { shim, sandbox } = hostile;
  const bomb = 'i=0; while [ $i -lt 200 ]; do sleep 100 & i=$((i+1)); done';
  const limited = await start({ linux: { resources: { unified: { 'pids.max': '30' } } } });
  await shim.cri.runtime.execSync({ containerId: limited, cmd: ['sh', '-c', bomb], timeout: 3 }).catch(() => undefined);
  const { stats } = await shim.cri.runtime.podSandboxStats({ podSandboxId: sandbox });
  assert.ok((stats?.linux?.process?.processCount?.value ?? 0) < 200);
  const unlimited = await start({});
  assert.equal(
    await shim.exec(unlimited, 'sh', '-c', 'cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max'),
    '4096',
  );
  // A line without an end is cut into parts that a reader can hold, and nothing of it is lost.
  const loud = await start({ command: ['sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x'] });
  const { logPath } = await shim.waitForExit(loud);
  const lines = readFileSync(logPath, 'utf8').split('\n').filter(Boolean);
  assert.ok(lines.every((line) => line.length < 20_000));
  assert.equal(
    lines.reduce((sum, line) => sum + line.split(' ').slice(3).join(' ').length, 0),
    3_000_000,
  );
  const noisy = await shim.cri.runtime.execSync({
    containerId: unlimited,
    cmd: ['sh', '-c', 'head -c 40000000 /dev/zero'],
    timeout: 30,
  });
  assert.equal(noisy.stdout.length, 16 * 1024 * 1024);
});

test('what is not supported is refused by name', async (t) => {
  if (!requireRoot(t)) return;
  const cases: [Config, RegExp][] = [
    [security({ selinuxOptions: { level: 's0' } }), /selinux/],
    [security({ apparmorProfile: 'localhost/x' }), /AppArmor/],
    [security({ capabilities: { addCapabilities: ['NOPE'] } }), /NOPE/],
    [security({ runAsGroup: { value: 5 } }), /run_as_group/],
    [{ CDIDevices: [{ name: 'a/b=c' }] }, /CDI/],
    [{ devices: [{ hostPath: '/etc/passwd', containerPath: '/dev/x', permissions: 'r' }] }, /not a device/],
  ];
  for (const [config, message] of cases) await assert.rejects(create(config), { message });
  await assert.rejects(
    hostile.shim.cri.runtime.runPodSandbox({ config: { metadata: { name: 'x' } }, runtimeHandler: 'kata' }),
    { message: /kata/ },
  );
});
