// User namespaces of sandboxes, as CRI and the kubelet use them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { readMounts } from '../../../runtime-shim/host/mount.ts';
import { busyboxFiles } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';

const mapping = [{ containerId: 0, hostId: 1_000_000, length: 65_536 }];
const userns = (options: object = {}) => ({
  ...({ network: 'POD', pid: 'POD', ipc: 'POD' } as const),
  usernsOptions: { mode: 'POD', uids: mapping, gids: mapping } as const,
  ...options,
});

let shim: TestShim;
let work: string;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  work = mkdtempSync(join(tmpdir(), 'windlass-userns-'));
  chmodSync(work, 0o711);
});
after(async () => {
  if (!isRoot) return;
  await shim[Symbol.asyncDispose]();
  rmSync(work, { recursive: true, force: true });
});

let count = 0;
const runSandbox = (options: object = {}, more: object = {}) =>
  shim.runSandbox(`userns-${(count += 1)}`, {
    linux: { securityContext: { namespaceOptions: userns(options) } },
    ...more,
  });
const start = async (sandboxId: string, config: Parameters<TestShim['create']>[1] = {}): Promise<string> => {
  const containerId = await shim.create(sandboxId, {
    command: ['sleep', '1000'],
    logPath: `c${(count += 1)}.log`,
    metadata: { name: `c${count}`, attempt: 0 },
    ...config,
    linux: { ...config.linux, securityContext: { namespaceOptions: userns(), ...config.linux?.securityContext } },
  });
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
};
const pidOf = async (containerId: string): Promise<number> => {
  const { info } = await shim.cri.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
};

test('a sandbox with a mapping: root inside is nobody of the host, and owns its namespaces and files', async (t) => {
  if (!requireRoot(t)) return;
  const { runtimeHandlers } = await shim.cri.runtime.status({});
  assert.deepEqual(
    runtimeHandlers.map(({ features }) => features?.userNamespaces),
    [true, true],
  );
  const sandbox = await runSandbox();
  const id = await start(sandbox);
  assert.match(
    await shim.exec(id, 'cat', '/proc/self/uid_map', '/proc/self/gid_map'),
    /^(\s*0\s+1000000\s+65536\s*){2}$/,
  );
  assert.equal(await shim.exec(id, 'id', '-u'), '0');
  const pid = await pidOf(id);
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /Uid:\t1000000\t/);
  assert.equal(
    await shim.exec(id, 'stat', '-c', '%u:%g', '/', '/bin/busybox', '/etc/hosts', '/dev'),
    '0:0\n0:0\n0:0\n0:0',
  );
  assert.equal(
    await shim.exec(id, 'sh', '-c', 'echo mine > /made; chown 5:6 /made; stat -c %u:%g /made; echo 1 >> /etc/hosts'),
    '5:6',
  );
  // Root of the user namespace may manage its network, as its capabilities allow; the host's files stay the host's.
  assert.equal(await shim.exec(id, 'hostname'), `userns-${count - 1}`);
  assert.notEqual(readlinkSync(`/proc/${pid}/ns/user`), readlinkSync('/proc/self/ns/user'));
});

test('what the container may do to others: nothing of the host, nothing of another sandbox', async (t) => {
  if (!requireRoot(t)) return;
  const hostFile = join(work, 'host-file');
  writeFileSync(hostFile, 'host', { mode: 0o600 });
  const id = await start(await runSandbox(), { mounts: [{ containerPath: '/host-file', hostPath: hostFile }] });
  const { runtime } = shim.cri;
  for (const script of [
    'cat /host-file',
    'chown 0:0 /host-file',
    'echo 1 > /proc/sys/kernel/panic',
    'mount -t tmpfs none /mnt',
    'mknod /tmp/sda b 8 0 && cat /tmp/sda',
  ]) {
    const result = await runtime.execSync({ containerId: id, cmd: ['sh', '-c', script], timeout: 10 });
    assert.notEqual(result.exitCode, 0, script);
  }
  assert.equal(readFileSync(hostFile, 'utf8'), 'host');
  assert.equal(lstatSync(hostFile).uid, 0);
});

test('every container of the sandbox is in its one user namespace, with pids shared, own or of a target', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  const modes = ['POD', 'POD', 'CONTAINER'] as const;
  const ids = [];
  for (const pid of modes) {
    ids.push(await start(sandbox, { linux: { securityContext: { namespaceOptions: userns({ pid }) } } }));
  }
  const target = { ...userns({ pid: 'TARGET' }), targetId: ids[2] as string };
  ids.push(await start(sandbox, { linux: { securityContext: { namespaceOptions: target } } }));
  const links = await Promise.all(
    ids.map(async (id) => {
      const pid = await pidOf(id);
      return { user: readlinkSync(`/proc/${pid}/ns/user`), pid: readlinkSync(`/proc/${pid}/ns/pid`) };
    }),
  );
  assert.equal(new Set(links.map(({ user }) => user)).size, 1);
  assert.deepEqual(
    links.map(({ pid }) => links.findIndex((other) => other.pid === pid)),
    [0, 0, 2, 2],
  );
  const [other] = [await start(await runSandbox())];
  const foreign = { ...userns({ pid: 'TARGET' }), targetId: other as string };
  await assert.rejects(start(sandbox, { linux: { securityContext: { namespaceOptions: foreign } } }), {
    reason: 'Invalid',
    message: /another user namespace/,
  });
});

test('a mount with the mapping of the sandbox keeps the owners it has on the host; any other mapping is refused', async (t) => {
  if (!requireRoot(t)) return;
  const volume = join(work, 'volume');
  mkdirSync(volume);
  writeFileSync(join(volume, 'roots'), '');
  const mount = { containerPath: '/v', hostPath: volume, uidMappings: mapping, gidMappings: mapping };
  const file = join(work, 'single');
  writeFileSync(file, 'one');
  const sandbox = await runSandbox();
  const id = await start(sandbox, {
    mounts: [
      mount,
      { ...mount, containerPath: '/single', hostPath: file },
      { containerPath: '/plain', hostPath: volume },
    ],
  });
  assert.equal(
    await shim.exec(id, 'stat', '-c', '%u:%g', '/v', '/v/roots', '/single', '/plain'),
    '0:0\n0:0\n0:0\n65534:65534',
  );
  await shim.exec(id, 'sh', '-c', 'echo > /v/made; chown 3:4 /v/made; echo two > /single');
  const made = lstatSync(join(volume, 'made'));
  assert.deepEqual([made.uid, made.gid, readFileSync(file, 'utf8')], [3, 4, 'two\n']);
  const wrong = [{ containerId: 0, hostId: 2_000_000, length: 65_536 }];
  await assert.rejects(start(sandbox, { mounts: [{ ...mount, uidMappings: wrong }] }), { reason: 'Invalid' });
  const plain = await shim.runSandbox('no-userns');
  await assert.rejects(shim.create(plain, { command: ['true'], mounts: [mount] }), {
    reason: 'Invalid',
    message: /id mapping/,
  });
});

test('an image volume belongs to root of the sandbox', async (t) => {
  if (!requireRoot(t)) return;
  const image = await shim.importImage([...busyboxFiles(), { name: 'data', content: 'x', uid: 7, gid: 8 }]);
  const id = await start(await runSandbox(), { mounts: [{ containerPath: '/i', image: { image }, readonly: true }] });
  assert.equal(await shim.exec(id, 'stat', '-c', '%u:%g', '/i/bin/busybox', '/i/data'), '0:0\n7:8');
});

test('mode NODE is the host; what CRI does not allow is refused', async (t) => {
  if (!requireRoot(t)) return;
  const nodeOptions = { mode: 'NODE', uids: [], gids: [] } as const;
  const node = await runSandbox({ usernsOptions: nodeOptions });
  const id = await shim.create(node, { command: ['cat', '/proc/self/uid_map'] });
  await shim.cri.runtime.startContainer({ containerId: id });
  await shim.waitForExit(id);
  const fields = (text = ''): string[] => text.trim().split(/\s+/);
  assert.deepEqual(fields((await shim.readLog(id))[0]), fields(readFileSync('/proc/self/uid_map', 'utf8')));
  const bad: [string, object][] = [
    ['two mappings', { usernsOptions: { mode: 'POD', uids: [...mapping, ...mapping], gids: mapping } }],
    ['no mapping', { usernsOptions: { mode: 'POD', uids: [], gids: mapping } }],
    [
      'id 0 not mapped',
      { usernsOptions: { mode: 'POD', uids: [{ containerId: 1, hostId: 9, length: 9 }], gids: mapping } },
    ],
    [
      "the host's root",
      { usernsOptions: { mode: 'POD', uids: [{ containerId: 0, hostId: 0, length: 9 }], gids: mapping } },
    ],
    ['mode CONTAINER', { usernsOptions: { mode: 'CONTAINER' } }],
    ['mode TARGET', { usernsOptions: { mode: 'TARGET' } }],
    ["the host's pids", { pid: 'NODE' }],
    ["the host's ipc", { ipc: 'NODE' }],
  ];
  for (const [what, options] of bad) await assert.rejects(runSandbox(options), { reason: 'Invalid' }, what);
  const { items } = await shim.cri.runtime.listPodSandbox({});
  assert.ok(
    items.every(({ state }) => state === 'SANDBOX_READY'),
    'nothing is left of what was refused',
  );
});

test("a user namespace in the host's network: sees it, changes nothing of it", async (t) => {
  if (!requireRoot(t)) return;
  assert.equal((await shim.cri.runtime.status({})).features?.userNamespacesHostNetwork, true);
  const network = { network: 'NODE' } as const;
  const id = await start(await runSandbox(network), {
    linux: { securityContext: { namespaceOptions: userns(network), capabilities: { addCapabilities: ['ALL'] } } },
  });
  assert.equal(readlinkSync(`/proc/${await pidOf(id)}/ns/net`), readlinkSync('/proc/self/ns/net'));
  assert.deepEqual((await shim.exec(id, 'ls', '/sys/class/net')).split('\n').includes('lo'), true);
  for (const script of [
    'ip link set lo mtu 1400',
    'hostname x',
    'mkdir /sys/fs/cgroup/x/y',
    'echo 1 > /sys/class/net/lo/mtu',
  ]) {
    const result = await shim.cri.runtime.execSync({ containerId: id, cmd: ['sh', '-c', script], timeout: 10 });
    assert.notEqual(result.exitCode, 0, script);
  }
});

test('a user outside the mapping is refused', async (t) => {
  if (!requireRoot(t)) return;
  await assert.rejects(start(await runSandbox(), { linux: { securityContext: { runAsUser: { value: 70_000 } } } }), {
    reason: 'Invalid',
    message: /70000 is not mapped/,
  });
});

test('restart of the shim, a lost mount, removal: the sandbox works on and leaves nothing', async (t) => {
  if (!requireRoot(t)) return;
  const volume = join(work, 'kept');
  mkdirSync(volume);
  writeFileSync(join(volume, 'mine'), 'mine');
  const sandbox = await runSandbox();
  const id = await start(sandbox, {
    mounts: [{ containerPath: '/v', hostPath: volume, uidMappings: mapping, gidMappings: mapping }],
  });
  await shim.kill();
  execFileSync('umount', ['-l', join(paths.shimState(shim.instance), 's', sandbox, 'ns', 'user')]);
  await shim.start();
  const { state, reason, message, exitCode } = await shim.status(id);
  assert.equal(state, 'CONTAINER_RUNNING', `${reason} ${exitCode}: ${message}`);
  assert.equal(await shim.exec(id, 'cat', '/v/mine'), 'mine');
  const second = await start(sandbox);
  assert.equal(await shim.exec(second, 'id', '-u'), '0');
  await shim.cri.runtime.removePodSandbox({ podSandboxId: sandbox });
  const left = readMounts().filter(
    ({ target }) => target.includes(sandbox) || target.includes(id) || target.includes(second),
  );
  assert.deepEqual(left, []);
  assert.equal(readFileSync(join(volume, 'mine'), 'utf8'), 'mine', 'what was mounted is untouched');
});

test("the host's /dev/null is nobody's but root's, whoever starts and whatever has a terminal", async (t) => {
  if (!requireRoot(t)) return;
  const uid = 4242;
  const owners = new Set<number>();
  const look = (): void => void owners.add(statSync('/dev/null').uid);
  const plain = await shim.runSandbox('null-plain');
  for (const sandbox of [await runSandbox(), plain]) {
    const namespaceOptions = sandbox === plain ? { ...userns(), usernsOptions: null } : userns();
    for (const [tty, stdin] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const id = await start(sandbox, {
        ...{ tty, stdin },
        linux: { securityContext: { namespaceOptions, runAsUser: { value: uid } } },
      });
      look();
      await shim.exec(id, 'true');
      look();
    }
  }
  for (const owner of [uid, 1_000_000 + uid, 1_000_000]) assert.ok(!owners.has(owner), `owned by ${owner} for a time`);
});
