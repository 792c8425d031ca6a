// What a container may do: system call filters, capabilities, new privileges, devices, limits, memory.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ContainerConfig, Draft } from '../../../cri/messages.ts';
import { ownCapabilities } from '../../../runtime-shim/oci-runtime/capabilities.ts';
import { startHostileShim, type HostileShim } from '../../support/hostile.ts';
import { requireRoot } from '../../support/require.ts';

let node: HostileShim;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (isRoot) node = await startHostileShim('rights');
});
after(async () => {
  if (isRoot) await node[Symbol.asyncDispose]();
});

type Security = NonNullable<NonNullable<Draft<ContainerConfig>['linux']>['securityContext']>;
const start = (securityContext: Security, more: Draft<ContainerConfig> = {}): Promise<string> =>
  node.start({ ...more, linux: { ...more.linux, securityContext } });
const ok = async (containerId: string, script: string): Promise<boolean> =>
  (await node.tryScript(containerId, script)) === 0;
const statusOf = (containerId: string, field: string): Promise<string> =>
  node.shim.exec(containerId, 'sh', '-c', `grep ${field}: /proc/1/status | cut -f2`);

test('seccomp: default, unconfined, a file, none; ignored when privileged', async (t) => {
  if (!requireRoot(t)) return;
  const file = join(node.folder('profiles'), 'no-chmod.json');
  const syscalls = [{ names: ['chmod', 'fchmodat', 'fchmodat2'], action: 'SCMP_ACT_ERRNO' }];
  writeFileSync(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
  const localhost = { profileType: 'Localhost', localhostRef: file } as const;
  const modes: [Security, string, boolean][] = [
    [{ seccomp: { profileType: 'RuntimeDefault' } }, '2', true],
    [{ seccomp: { profileType: 'Unconfined' } }, '0', true],
    [{ seccomp: null }, '0', true],
    [{ seccomp: localhost }, '2', false],
    [{ seccomp: null, seccompProfilePath: `localhost/${file}` }, '2', false],
    [{ seccomp: localhost, privileged: true }, '0', true],
  ];
  for (const [security, mode, mayChmod] of modes) {
    const id = await start(security);
    assert.deepEqual(
      [await statusOf(id, 'Seccomp'), await ok(id, 'chmod 700 /tmp')],
      [mode, mayChmod],
      JSON.stringify(security),
    );
  }
});

test('seccomp: the default profile holds back what a capability would allow', async (t) => {
  if (!requireRoot(t)) return;
  const capabilities = { addCapabilities: ['SYS_ADMIN'] };
  const name = { seccomp: { profileType: 'RuntimeDefault' } } as const;
  assert.equal(await ok(await start(name), 'hostname x'), false);
  assert.equal(await ok(await start({ ...name, capabilities }), 'hostname x && hostname rights'), true);
});

test('capabilities: add, drop, ALL, never more than the runtime has', async (t) => {
  if (!requireRoot(t)) return;
  const bounding = async (addCapabilities: string[], dropCapabilities: string[], more: Security = {}) =>
    BigInt(
      `0x${await statusOf(await start({ ...more, capabilities: { addCapabilities, dropCapabilities } }), 'CapBnd')}`,
    );
  const own = [...ownCapabilities()].length;
  const size = (set: bigint): number => set.toString(2).replaceAll('0', '').length;
  const [base, netAdmin] = [0xa80425fbn, 1n << 12n];
  assert.equal(await bounding([], []), base);
  assert.equal(await bounding(['NET_ADMIN'], []), base | netAdmin);
  assert.equal(await bounding(['CAP_NET_ADMIN'], ['ALL']), netAdmin);
  assert.equal(await bounding([], ['CHOWN']), base & ~1n);
  assert.equal(await bounding([], ['ALL']), 0n);
  assert.equal(size(await bounding(['ALL'], [])), own);
  assert.equal(size(await bounding(['ALL'], ['CHOWN'])), own - 1);
  assert.equal(size(await bounding([], [], { privileged: true })), own);
});

test('no new privileges, read-only root, privileged', async (t) => {
  if (!requireRoot(t)) return;
  const plain = await start({});
  assert.deepEqual([await statusOf(plain, 'NoNewPrivs'), await ok(plain, 'touch /x')], ['0', true]);
  const strict = await start({ noNewPrivs: true, readonlyRootfs: true });
  assert.deepEqual([await statusOf(strict, 'NoNewPrivs'), await ok(strict, 'touch /x')], ['1', false]);
  assert.deepEqual([await ok(strict, 'touch /etc/hosts'), await ok(strict, 'touch /dev/shm/x')], [false, true]);
  const privileged = await start({ privileged: true });
  assert.ok(await ok(privileged, 'mount -t tmpfs none /tmp && umount /tmp && test -w /proc/sys/kernel'));
  assert.equal(await ok(plain, 'mount -t tmpfs none /tmp'), false);
});

test('devices: with the rights asked for, whole folders, everything when privileged', async (t) => {
  if (!requireRoot(t)) return;
  const device = (hostPath: string, containerPath: string, permissions: string) => ({
    hostPath,
    containerPath,
    permissions,
  });
  const devices = [device('/dev/zero', '/dev/readable', 'r'), device('/dev/net', '/dev/folder', 'rw')];
  const id = await start({}, { devices: [devices[0] as (typeof devices)[0], device('/dev/kmsg', '/dev/log', 'w')] });
  assert.ok(await ok(id, 'head -c1 /dev/readable > /dev/null'));
  assert.equal(await ok(id, 'head -c1 /dev/log'), false, 'only to write');
  assert.equal(await ok(id, 'mknod /tmp/disk b 8 0 && head -c1 /tmp/disk'), false, 'no other device');
  const folder = await start({}, { devices });
  assert.equal(await node.shim.exec(folder, 'ls', '/dev/folder'), 'tun');
  const privileged = await start({ privileged: true });
  assert.ok(await ok(privileged, 'test -c /dev/kmsg && test -c /dev/net/tun'));
});

test('ulimits above the own are lowered; init reaps and is process 1', async (t) => {
  if (!requireRoot(t)) return;
  const ulimits = JSON.stringify([
    { name: 'nofile', soft: 1000, hard: 100_000_000 },
    { name: 'core', soft: 0, hard: 0 },
    { name: 'stack', soft: 1_048_576, hard: -1 },
  ]);
  const annotations = { 'runtime.windlass.dev/ulimits': ulimits, 'runtime.windlass.dev/init': 'true' };
  const id = await start({}, { annotations });
  assert.equal(
    await node.shim.exec(id, 'sh', '-c', 'ulimit -n; ulimit -c; ulimit -s; ulimit -Hs'),
    '1000\n0\n1024\nunlimited',
  );
  assert.equal(await node.shim.exec(id, 'cat', '/proc/1/comm'), 'init');
});

for (const [what, script] of [
  ['process 1', 'exec dd if=/dev/zero of=/dev/null bs=40M'],
  ['a child', 'dd if=/dev/zero of=/dev/null bs=40M; exit $?'],
] as const) {
  test(`out of memory: ${what} ends the container with 137 and OOMKilled`, async (t) => {
    if (!requireRoot(t)) return;
    const limit = 15 * 1024 * 1024;
    const id = await node.start({
      command: ['sh', '-c', script],
      linux: { resources: { memoryLimitInBytes: limit, memorySwapLimitInBytes: limit } },
    });
    const { exitCode, reason } = await node.shim.waitForExit(id);
    assert.deepEqual([exitCode, reason], [137, 'OOMKilled']);
  });
}
