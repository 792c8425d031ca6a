import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openCgroups, parseCgroupMounts, type Cgroups } from '../../../../runtime-shim/cgroups/cgroups.ts';
import { toWritableResources, weightOfShares } from '../../../../runtime-shim/cgroups/resources.ts';

/** Lays down a recorded tree of files and opens it as a host's cgroups. */
function record(
  t: TestContext,
  mounts: (root: string) => string[],
  files: Record<string, string>,
): { cgroups: Cgroups; read: (file: string) => string } {
  const root = mkdtempSync(join(tmpdir(), 'windlass-cgroup-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return { cgroups: openCgroups(mounts(root).join('\n')), read: (file) => readFileSync(join(root, file), 'utf8') };
}
const v1Mounts = (root: string): string[] =>
  ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'freezer'].map(
    (name, index) => `${30 + index} 1 0:${30 + index} / ${root}/${name} rw - cgroup cgroup rw,${name}`,
  );
const v2Mounts = (root: string): string[] => [`30 1 0:30 / ${root} rw - cgroup2 cgroup2 rw`];

test('parseCgroupMounts() tells v1 controllers, named hierarchies and v2 apart', () => {
  const { v1, v2 } = parseCgroupMounts(
    [
      '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
      '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct',
      '40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd',
      '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
    ].join('\n'),
  );
  assert.deepEqual(
    [...v1],
    [
      ['cpu', '/sys/fs/cgroup/cpu,cpuacct'],
      ['cpuacct', '/sys/fs/cgroup/cpu,cpuacct'],
      ['name=systemd', '/sys/fs/cgroup/systemd'],
    ],
  );
  assert.equal(v2, '/sys/fs/cgroup/unified');
});

const expected = {
  cpuUsageNs: 5_000_000,
  memoryUsageBytes: 1000,
  workingSetBytes: 700,
  rssBytes: 400,
  pageFaults: 11,
  majorPageFaults: 2,
  swapUsageBytes: 50,
  processes: 3,
  oomKills: 1,
};

test('stats() reads a recorded v1 tree', (t) => {
  const { cgroups } = record(t, v1Mounts, {
    'cpuacct/c/cpuacct.usage': '5000000\n',
    'memory/c/memory.usage_in_bytes': '1000\n',
    'memory/c/memory.memsw.usage_in_bytes': '1050\n',
    'memory/c/memory.limit_in_bytes': '9223372036854771712\n',
    'memory/c/memory.stat': 'cache 5\ntotal_rss 400\ntotal_inactive_file 300\ntotal_pgfault 11\ntotal_pgmajfault 2\n',
    'memory/c/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
    'pids/c/pids.current': '3\n',
  });
  assert.equal(cgroups.version, 'v1');
  assert.deepEqual(cgroups.stats('/c'), { ...expected, memoryLimitBytes: undefined });
  assert.equal(cgroups.stats('/gone'), undefined);
});

test('stats() reads a recorded v2 tree', (t) => {
  const { cgroups } = record(t, v2Mounts, {
    'c/cpu.stat': 'usage_usec 5000\nuser_usec 1\n',
    'c/memory.current': '1000\n',
    'c/memory.max': '4096\n',
    'c/memory.swap.current': '50\n',
    'c/memory.stat': 'anon 400\nfile 9\ninactive_file 300\npgfault 11\npgmajfault 2\n',
    'c/memory.events': 'low 0\noom 1\noom_kill 1\n',
    'c/pids.current': '3\n',
  });
  assert.equal(cgroups.version, 'v2');
  assert.deepEqual(cgroups.stats('/c'), { ...expected, memoryLimitBytes: 4096 });
});

test('update() writes v2 files; a value that fails leaves the others as they were', (t) => {
  const { cgroups, read } = record(t, v2Mounts, {
    'c/memory.max': 'max',
    'c/memory.swap.max': 'max',
    'c/cpu.max': 'max 100000',
    'c/pids.max': 'max',
    'c/cpu.weight': '100',
  });
  cgroups.update('/c', { memoryBytes: 1 << 20, cpuQuotaUs: 50_000, pids: 9, cpuShares: 1024 });
  assert.deepEqual(
    ['memory.max', 'memory.swap.max', 'cpu.max', 'pids.max', 'cpu.weight'].map((name) => read(`c/${name}`)),
    ['1048576', '0', '50000 100000', '9', '39'],
  );
  assert.throws(() => cgroups.update('/gone', { memoryBytes: 1 << 20 }), { reason: 'NotFound' });
});

test('update() on v1 lifts the limit with swap before it moves the other', (t) => {
  const { cgroups, read } = record(t, v1Mounts, {
    'memory/c/memory.limit_in_bytes': '5',
    'memory/c/memory.memsw.limit_in_bytes': '5',
  });
  cgroups.update('/c', { memoryBytes: 1 << 20 });
  assert.deepEqual(
    [read('memory/c/memory.limit_in_bytes'), read('memory/c/memory.memsw.limit_in_bytes')],
    ['1048576', '1048576'],
  );
  assert.throws(() => cgroups.update('/c', { unified: { 'memory.high': '5' } }), {
    reason: 'Invalid',
    message: /memory\.high/,
  });
});

test('toWritableResources() refuses what the kernel or a file name would take badly', () => {
  const base = {
    cpuPeriod: 0,
    cpuQuota: 0,
    cpuShares: 0,
    memoryLimitInBytes: 0,
    cpusetCpus: '',
    cpusetMems: '',
    hugepageLimits: [],
    unified: {},
    memorySwapLimitInBytes: 0,
  };
  assert.deepEqual(toWritableResources({ ...base, unified: { 'pids.max': '7' } }), { pids: 7 });
  for (const bad of [
    { memoryLimitInBytes: 5 },
    { cpusetCpus: '0; x' },
    { unified: { '../x.y': '1' } },
    { unified: { 'cgroup.kill': '1' } },
    { unified: { 'pids.max': 'x' } },
  ]) {
    assert.throws(() => toWritableResources({ ...base, ...bad }), { reason: 'Invalid' });
  }
  assert.deepEqual([weightOfShares(2), weightOfShares(1024), weightOfShares(262_144)], [1, 39, 10_000]);
});
