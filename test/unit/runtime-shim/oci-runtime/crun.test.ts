import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCgroupMounts } from '../../../../runtime-shim/cgroups/cgroups.ts';
import { hidingArguments, isShared, mountToHide } from '../../../../runtime-shim/oci-runtime/hidden-mount.ts';
import { createFilterCache } from '../../../../runtime-shim/oci-runtime/filter-cache.ts';
import type { OciSpec } from '../../../../runtime-shim/oci-runtime/oci-spec.ts';

const V1 = '30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory';
const V2 = '40 24 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw';

test('mountToHide() names the v2 mount beside v1 hierarchies, and nothing on a host with one kind', () => {
  assert.equal(mountToHide(parseCgroupMounts(`${V1}\n${V2}\n`)), '/sys/fs/cgroup/unified');
  assert.equal(mountToHide(parseCgroupMounts(V1)), undefined);
  assert.equal(mountToHide(parseCgroupMounts(V2)), undefined);
});

test('isShared() looks at the mount and at those above it', () => {
  const root = '21 1 0:20 / /sys rw shared:7 - sysfs sysfs rw';
  assert.equal(isShared(`${V1}\n${V2}`, '/sys/fs/cgroup/unified'), false);
  assert.equal(isShared(`${root}\n${V2}`, '/sys/fs/cgroup/unified'), true);
  assert.equal(isShared(V2.replace('rw - ', 'rw shared:3 - '), '/sys/fs/cgroup/unified'), true);
  assert.equal(isShared(`22 1 0:9 / /data rw shared:7 - ext4 /dev/sda rw\n${V2}`, '/sys/fs/cgroup/unified'), false);
});

test('hidingArguments() quotes what they name, and refuse where the host would lose its mount', () => {
  const script = `umount '/cg' && exec '/opt/it'\\''s/crun' "$@"`;
  const start = ['--mount', '--propagation', 'unchanged', '/bin/sh', '-c'];
  assert.deepEqual(hidingArguments("/opt/it's/crun", '/cg', V2), [...start, script, 'crun']);
  assert.throws(() => hidingArguments('/usr/bin/crun', '/cg', '1 2 0:3 / / rw shared:1 - ext4 /dev/sda rw'), {
    reason: 'Unavailable',
  });
});

test('createFilterCache() gives the next container of a profile the filter of the first', () => {
  const specOf = (action: string) =>
    ({ linux: { seccomp: { defaultAction: action, syscalls: [] } } }) as unknown as OciSpec;
  const cache = createFilterCache((id) => (id === 'none' ? undefined : Buffer.from(id)));
  cache.learn('none', specOf('A'));
  assert.equal(cache.apply(specOf('A')).annotations, undefined);
  cache.learn('first', specOf('A'));
  cache.learn('second', specOf('A'));
  assert.deepEqual(cache.apply(specOf('A')).annotations, { 'run.oci.seccomp_bpf_data': 'Zmlyc3Q=' });
  assert.equal(cache.apply(specOf('B')).annotations, undefined);
  const unconfined = { linux: {} } as unknown as OciSpec;
  cache.learn('x', unconfined);
  assert.equal(cache.apply(unconfined), unconfined);
});
