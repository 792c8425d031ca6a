import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { LinuxContainerSecurityContext } from '../../../../cri/messages.ts';
import { createSeccompProfiles, planSeccomp } from '../../../../runtime-shim/oci-runtime/seccomp-choice.ts';
import { planDevices } from '../../../../runtime-shim/oci-runtime/spec-devices.ts';
import { destinationOf } from '../../../../runtime-shim/oci-runtime/spec-mounts.ts';

const folder = mkdtempSync(join(tmpdir(), 'windlass-unit-rights-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('planSeccomp() knows the profile, the old path and a file; nothing said is unconfined', () => {
  const file = join(folder, 'profile.json');
  writeFileSync(file, '{"defaultAction":"SCMP_ACT_ALLOW"}');
  writeFileSync(join(folder, 'bad.json'), '{');
  writeFileSync(join(folder, 'empty.json'), '{}');
  const plan = (security: Partial<LinuxContainerSecurityContext> | undefined): string | undefined =>
    planSeccomp(
      security && ({ seccomp: null, seccompProfilePath: '', ...security } as LinuxContainerSecurityContext),
      [],
    )?.defaultAction;
  const local = (localhostRef: string) => plan({ seccomp: { profileType: 'Localhost', localhostRef } });
  assert.equal(plan(undefined), 'SCMP_ACT_ERRNO');
  assert.equal(plan({}), undefined);
  assert.equal(plan({ seccomp: { profileType: 'Unconfined', localhostRef: '' } }), undefined);
  assert.equal(plan({ seccomp: { profileType: 'RuntimeDefault', localhostRef: '' } }), 'SCMP_ACT_ERRNO');
  assert.equal(local(file), 'SCMP_ACT_ALLOW');
  assert.equal(plan({ seccompProfilePath: 'runtime/default' }), 'SCMP_ACT_ERRNO');
  assert.equal(plan({ seccompProfilePath: 'unconfined' }), undefined);
  assert.equal(plan({ seccompProfilePath: `localhost/${file}` }), 'SCMP_ACT_ALLOW');
  assert.throws(() => plan({ seccompProfilePath: 'localhost/relative' }), { reason: 'Invalid' });
  assert.throws(() => local('relative.json'), { reason: 'Invalid' });
  assert.throws(() => local(join(folder, 'none.json')), { reason: 'NotFound' });
  for (const name of ['bad.json', 'empty.json', '.']) {
    assert.throws(() => local(join(folder, name)), { reason: 'Invalid' }, name);
  }
  assert.throws(() => local('/dev/zero'), { reason: 'Invalid' });
});

test('createSeccompProfiles() reads a file again when it was changed or replaced, and not before', () => {
  const profiles = createSeccompProfiles();
  const file = join(folder, 'changing.json');
  writeFileSync(file, '{"defaultAction":"SCMP_ACT_ALLOW"}');
  const first = profiles.inFile(file);
  assert.equal(profiles.inFile(file), first);
  // Of the same length.
  writeFileSync(file, '{"defaultAction":"SCMP_ACT_ERRNO"}');
  assert.equal(profiles.inFile(file).defaultAction, 'SCMP_ACT_ERRNO');
  rmSync(file);
  assert.throws(() => profiles.inFile(file), { reason: 'NotFound' });
  assert.equal(profiles.forCapabilities(['CAP_CHOWN']), profiles.forCapabilities(['CAP_CHOWN']));
  assert.notEqual(profiles.forCapabilities(['CAP_CHOWN']), profiles.forCapabilities([]));
});

test('planDevices() takes single devices and whole folders, with the rights that were asked for', () => {
  const device = (hostPath: string, permissions = '', containerPath = '') => ({ hostPath, containerPath, permissions });
  const { devices, rules } = planDevices([device('/dev/null', 'r', '/dev/x')], false);
  assert.deepEqual(
    devices.map(({ path, type, major, minor }) => [path, type, major, minor]),
    [['/dev/x', 'c', 1, 3]],
  );
  assert.deepEqual(rules, [
    { allow: false, access: 'rwm' },
    { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
  ]);
  for (const bad of [device('/dev/null', 'x'), device('/dev/null', 'r', '../x'), device('/etc/passwd')]) {
    assert.throws(() => planDevices([bad], false), { reason: 'Invalid' });
  }
  mkdirSync(join(folder, 'no-devices'));
  assert.throws(() => planDevices([device(join(folder, 'no-devices'))], false), { message: /holds none/ });
  assert.throws(() => planDevices([device('/no/such')], false), { reason: 'NotFound' });
});

test('destinationOf() follows links inside the root and keeps mounts off what is the runtime`s own', () => {
  const root = join(folder, 'root');
  mkdirSync(join(root, 'dev'), { recursive: true });
  symlinkSync('/dev', join(root, 'd'));
  symlinkSync('../../../..', join(root, 'up'));
  const at = (path: string, hostPath?: string): string => destinationOf(root, path, 'x', hostPath);
  assert.equal(at('/up/data/../file'), '/file');
  assert.equal(at('/dev/shm'), '/dev/shm');
  assert.equal(at('/d/my-device'), '/dev/my-device');
  assert.equal(at('/dev', '/dev'), '/dev');
  assert.equal(at('/sys/fs/bpf'), '/sys/fs/bpf');
  for (const path of [
    '/',
    '/up',
    '/proc',
    '/proc/sys',
    '/dev',
    '/d',
    '/d/null',
    '/dev/pts/0',
    '/sys',
    '/sys/fs/cgroup',
  ]) {
    assert.throws(() => at(path, '/elsewhere'), { reason: 'Invalid' }, path);
  }
});
