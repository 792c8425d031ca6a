import assert from 'node:assert/strict';
import test from 'node:test';
import { runChecks, type CheckResult, type Host } from '../../../cli/checks.ts';

const ALL_CAPABILITIES = '000001ffffffffff';
const GOOD_FILES: Readonly<Record<string, string>> = {
  '/proc/self/status': `CapEff:\t${ALL_CAPABILITIES}\nSeccomp:\t0\n`,
  '/proc/filesystems': 'nodev\toverlay\n\text4\n',
  '/proc/self/mountinfo': '30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
};

/** A host that has everything, but for what is said. */
function makeHost(differences: Partial<Host> & { files?: Readonly<Record<string, string | undefined>> } = {}): Host {
  const files: Readonly<Record<string, string | undefined>> = { ...GOOD_FILES, ...differences.files };
  return {
    readText: (path) => files[path],
    exists: () => true,
    findProgram: (name) => `/usr/bin/${name}`,
    isFree: async () => true,
    isOwnAddress: async () => true,
    freeBytes: () => 100 * 2 ** 30,
    uid: 0,
    ...differences,
  };
}

const options = { home: '/srv/w', run: '/run/w', listen: '127.0.0.1:6443', etcdServers: undefined };
const check = (host: Host, more: { etcdServers?: string } = {}): Promise<CheckResult[]> =>
  runChecks(host, { ...options, ...more });
const notOk = async (host: Host): Promise<string[]> =>
  (await check(host)).flatMap(({ name, status, detail }) => (status === 'ok' ? [] : [`${status} ${name}: ${detail}`]));

test('runChecks() finds nothing to say about a host that has everything', async () => {
  const results = await check(makeHost());
  assert.deepEqual(
    results.map(({ status }) => status),
    results.map(() => 'ok'),
  );
  assert.deepEqual(
    results.map(({ name }) => name),
    [
      ...['root', 'capabilities', 'etcd', 'runc', 'conmon', 'nft', 'ip'],
      ...['overlayfs', 'namespaces', 'seccomp', 'ip forwarding', 'cgroups', 'API port', 'disk', 'disk'],
    ],
  );
});

test('runChecks() says how to get what is missing', async () => {
  assert.deepEqual(await notOk(makeHost({ uid: 1000 })), [
    'missing root: run with sudo: namespaces, mounts and links need root',
  ]);
  assert.deepEqual(await notOk(makeHost({ findProgram: (name) => (name === 'conmon' ? undefined : `/bin/${name}`) })), [
    'missing conmon: apt-get install conmon (or: npm run setup)',
  ]);
  assert.deepEqual(await notOk(makeHost({ files: { '/proc/filesystems': 'ext4\n' } })), [
    'missing overlayfs: modprobe overlay',
  ]);
  assert.deepEqual(await notOk(makeHost({ isOwnAddress: async () => false })), [
    'missing API port: 127.0.0.1 is not an address of this machine: choose one with --listen',
  ]);
  assert.deepEqual(await notOk(makeHost({ exists: (path) => !path.endsWith('/ns/ipc') })), [
    'missing namespaces: the kernel lacks: ipc',
  ]);
  assert.deepEqual(await notOk(makeHost({ freeBytes: (path) => (path === '/srv/w' ? 2 ** 30 : 2 ** 40) })), [
    'missing disk: 1.0 GiB free for /srv/w: want at least 2.0 GiB',
  ]);
});

test('runChecks() tells capabilities it cannot do without from one that it can', async () => {
  const without = (...bits: number[]): Host => {
    const mask = bits.reduce((all, bit) => all & ~(1n << BigInt(bit)), BigInt(`0x${ALL_CAPABILITIES}`));
    return makeHost({ files: { '/proc/self/status': `CapEff:\t${mask.toString(16)}\nSeccomp:\t0\n` } });
  };
  assert.match(
    (await notOk(without(21, 12))).join('\n'),
    /^missing capabilities: lacks CAP_NET_ADMIN, CAP_SYS_ADMIN: /,
  );
  assert.match((await notOk(without(24))).join('\n'), /^note capabilities: no CAP_SYS_RESOURCE: /);
});

test('runChecks() wants cpu, memory and pids of whichever cgroup version there is', async () => {
  const line = (options: string): string => `31 1 0:27 / /sys/fs/cgroup/${options} rw - cgroup cgroup rw,${options}\n`;
  const v1 = (...hierarchies: string[]): Host =>
    makeHost({
      files: {
        '/proc/self/mountinfo': hierarchies.map(line).join(''),
        '/sys/fs/cgroup/cgroup.controllers': undefined,
      },
    });
  const cgroups = async (host: Host): Promise<CheckResult | undefined> =>
    (await check(host)).find(({ name }) => name === 'cgroups');
  assert.deepEqual(await cgroups(v1('cpu,cpuacct', 'memory', 'pids')), {
    name: 'cgroups',
    status: 'ok',
    detail: 'v1 with cpu, memory and pids',
  });
  assert.match((await cgroups(v1('cpu,cpuacct', 'pids')))?.detail ?? '', /^no controller for memory: /);
  assert.equal((await cgroups(makeHost()))?.detail, 'v2 with cpu, memory and pids');
});

test('runChecks() notes a port in use, and asks for no etcd of its own when there is another', async () => {
  assert.match(
    (await notOk(makeHost({ isFree: async () => false }))).join('\n'),
    /^note API port: 127.0.0.1:6443 is in use/,
  );
  const names = (await check(makeHost(), { etcdServers: 'http://10.0.0.1:2379' })).map(({ name }) => name);
  assert.ok(!names.includes('etcd') && names.includes('runc'));
});
