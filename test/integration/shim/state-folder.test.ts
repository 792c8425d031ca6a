// What a shim finds in its folders when it starts: damaged records, somebody else's lock or socket, what another boot left.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeInstance, kernelNames, paths } from '../../../lib/instance.ts';
import { openCgroups } from '../../../runtime-shim/cgroups/cgroups.ts';
import { umountTree } from '../../../runtime-shim/host/mount.ts';
import { deleteLink, listLinks, openRtnetlink } from '../../../runtime-shim/host/rtnetlink.ts';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import { takeOwnSnapshot } from '../../support/host-snapshot.ts';
import { runCommand } from '../../support/instance.ts';
import { pickSubnet } from '../../support/own-subnet.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { waitFor } from '../../support/wait.ts';

const PREFIX = pickSubnet();
const NETWORK = {
  id: 'state/net',
  // Two addresses besides the gateway: one that leaks is missed at once.
  subnets: [{ cidr: `${PREFIX}.0/29`, gateway: `${PREFIX}.1`, ranges: [`${PREFIX}.2/31`] }],
  ...{ internal: true, isolated: false, mtu: 1500, domain: 'state' },
};
const attachments = {
  annotations: { 'network.windlass.dev/attachments': JSON.stringify([{ network: NETWORK.id, names: ['a'] }]) },
};
const command = ['sh', '-c', 'echo said; exec sleep 1000'];

async function runTwo(shim: TestShim, prefix: string): Promise<string[]> {
  return Promise.all(['a', 'b'].map((name) => shim.run(`${prefix}-${name}`, { command }, attachments)));
}

async function removeAll({ cri }: TestShim): Promise<void> {
  const { items } = await cri.runtime.listPodSandbox({});
  for (const { id } of items) {
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
}

/** Ways in which a record file can be wrong. */
const DAMAGES: Readonly<Record<string, (text: string) => string>> = {
  'cut off': (text) => text.slice(0, text.length / 2),
  empty: () => '',
  null: () => 'null',
  'another type': () => '["a record"]',
  'an unknown phase': (text) => text.replace(/"phase":"\w+"/, '"phase":"levitating"'),
  'another id': (text) => text.replace(/"id":"\w{8}/, '"id":"00000000'),
  'a missing field': (text) => text.replace('"createdAtMs"', '"createdAt"'),
  'a pid that is a text': (text) => text.replace(/"pid":\d+/, '"pid":"-1"').replace('"directory":"/', '"directory":"'),
};

test('damaged records are put aside, what they described is removed, and the names are free again', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  // As many addresses as sandboxes: none may be lost with its record.
  const kinds = Object.keys(DAMAGES);
  assert.equal(kinds.length, 8);
  const subnets = [{ cidr: `${PREFIX}.32/27`, gateway: `${PREFIX}.33`, ranges: [`${PREFIX}.40/29`] }];
  await shim.cri.node.ensureNetwork({ network: { ...NETWORK, subnets } });
  // With a pid holder, where one is installed: it is more to clear away.
  const shared = {
    linux: { securityContext: { namespaceOptions: { network: 'POD', pid: 'POD', ipc: 'POD' } } },
  } as const;
  const config = { command, ...(findProgram('catatonit') === undefined ? {} : shared) };
  const runAll = () => Promise.all(kinds.map((_, index) => shim.run(`damaged-${index}`, config, attachments)));
  await runAll();
  await removeAll(shim);
  const before = await takeEmptySnapshot(shim.instance);
  const containers = await runAll();
  const sandboxes = await Promise.all(containers.map(async (id) => sandboxOf(shim, id)));
  await shim.kill();
  const damaged = kinds.flatMap((kind, index) =>
    [`sandboxes/${sandboxes[index]}`, `containers/${containers[index]}`].map((name) => {
      const file = join(paths.shimState(shim.instance), `${name}.json`);
      writeFileSync(file, DAMAGES[kind]?.(readFileSync(file, 'utf8')) ?? '');
      return `${file}.damaged`;
    }),
  );
  await shim.start();
  assert.deepEqual((await shim.cri.runtime.listPodSandbox({})).items, []);
  assert.deepEqual((await shim.cri.runtime.listContainers({})).containers, []);
  // A container whose own record alone is damaged goes, its sandbox stays.
  const [one = ''] = await runAll();
  const file = join(paths.shimState(shim.instance), `containers/${one}.json`);
  await shim.kill();
  writeFileSync(file, '{');
  damaged.push(`${file}.damaged`);
  await shim.start();
  assert.equal((await shim.cri.runtime.listPodSandbox({})).items.length, kinds.length);
  assert.equal((await shim.cri.runtime.listContainers({})).containers.length, kinds.length - 1);
  await removeAll(shim);
  for (const left of damaged) rmSync(left);
  await equalsSnapshot(shim.instance, before);
});

async function sandboxOf(shim: TestShim, containerId: string): Promise<string> {
  const { containers } = await shim.cri.runtime.listContainers({ filter: { id: containerId } });
  return containers[0]?.podSandboxId ?? '';
}

/** Everything of the kernel's that a reboot takes away. */
async function loseKernelObjects({ instance }: TestShim): Promise<void> {
  const cgroups = openCgroups();
  await cgroups.killAll(kernelNames.cgroupParent(instance), AbortSignal.timeout(10_000));
  await waitFor(() => takeOwnSnapshot(instance).processes.length === 0, { what: 'the end of every conmon' });
  umountTree(instance.run);
  umountTree(instance.home);
  using socket = openRtnetlink();
  for (const { name } of listLinks(socket, kernelNames.linkPrefix(instance))) deleteLink(socket, name);
  const nft = async (family: string) => runCommand('nft', ['delete', 'table', family, kernelNames.nftTable(instance)]);
  await Promise.all([nft('inet'), nft('bridge')]);
  cgroups.remove(kernelNames.cgroupParent(instance));
}

test('after a reboot with an old run folder everything is reported as ended, removable, and addresses are free', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'nft')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  await shim.cri.node.ensureNetwork({ network: NETWORK });
  await runTwo(shim, 'first');
  await removeAll(shim);
  const before = await takeEmptySnapshot(shim.instance);
  for (const isNoted of [true, false]) {
    const ids = await runTwo(shim, 'rebooted');
    const victim = JSON.parse(
      readFileSync(join(paths.shimState(shim.instance), 'containers', `${ids[0]}.json`), 'utf8'),
    ) as { init: object };
    await shim.stop();
    await loseKernelObjects(shim);
    const exits = join(paths.shimState(shim.instance), 'exits');
    // conmon saw the end of the one; of the other nobody did.
    rmSync(join(exits, ids[1] ?? ''));
    // The mark tells a reboot even where pids of the old boot fit processes of this one.
    if (isNoted) {
      writeFileSync(join(paths.shimState(shim.instance), 'boot-id'), 'another-boot');
      const own = { pid: process.pid, startTime: Number(readFileSync('/proc/self/stat', 'latin1').split(' ')[21]) };
      for (const id of ids) {
        const file = join(paths.shimState(shim.instance), 'containers', `${id}.json`);
        const record = JSON.parse(readFileSync(file, 'utf8')) as typeof victim;
        writeFileSync(file, JSON.stringify({ ...record, init: own, conmon: own }));
      }
    }
    await shim.start();
    const ended = await Promise.all(ids.map((id) => shim.waitForExit(id)));
    assert.deepEqual(
      ended.map(({ exitCode, reason }) => [exitCode, reason]),
      [
        [137, 'Error'],
        [255, 'Error'],
      ],
    );
    assert.match(ended[1]?.message ?? '', isNoted ? /host was restarted/ : /conmon/);
    assert.equal((await shim.readLog(ids[0] ?? '')).at(-1), 'said');
    const { items } = await shim.cri.runtime.listPodSandbox({});
    assert.deepEqual(
      items.map(({ state }) => state),
      ['SANDBOX_NOTREADY', 'SANDBOX_NOTREADY'],
    );
    // All addresses are free although nothing has been removed yet.
    await runTwo(shim, 'again');
    await removeAll(shim);
    await equalsSnapshot(shim.instance, before);
  }
});

test('after a reboot with an empty run folder images are there, writable layers of lost containers are not', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'nft')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  await shim.cri.node.ensureNetwork({ network: NETWORK });
  const { images } = await shim.cri.images.listImages({});
  await runTwo(shim, 'lost');
  await shim.stop();
  await loseKernelObjects(shim);
  rmSync(shim.instance.run, { recursive: true });
  // What fsck and people leave in a file system.
  const strays = ['containers', 'layers', 'views'].map((name) => join(paths.snapshots(shim.instance), name));
  for (const folder of strays) mkdirSync(join(folder, 'lost+found'));
  await shim.start();
  assert.deepEqual((await shim.cri.images.listImages({})).images, images);
  assert.deepEqual((await shim.cri.runtime.listPodSandbox({})).items, []);
  assert.deepEqual(readdirSync(join(paths.snapshots(shim.instance), 'containers')), ['lost+found']);
  await shim.cri.node.ensureNetwork({ network: NETWORK });
  const ids = await runTwo(shim, 'lost');
  assert.equal((await shim.status(ids[0] ?? '')).state, 'CONTAINER_RUNNING');
});

test('a shim is refused a folder that another has, and a socket that somebody answers on; stale ones are replaced', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  const { home, run } = shim.instance;
  const start = async (...flags: string[]) => runCommand(process.execPath, ['runtime-shim/main.ts', ...flags]);
  for (const [flags, what] of [
    [['--home', home, '--run', run], `another runtime shim (process ${shim.process.pid}) uses this folder: ${run}`],
    [
      ['--home', `${home}-2`, '--run', run],
      `another runtime shim (process ${shim.process.pid}) uses this folder: ${run}`,
    ],
    [
      ['--home', home, '--run', `${run}-2`],
      `another runtime shim (process ${shim.process.pid}) uses this folder: ${home}`,
    ],
  ] as const) {
    const { code, stderr, stdout } = await start(...flags);
    assert.equal(code, 1);
    assert.ok(`${stdout}${stderr}`.includes(what), stderr);
  }
  await shim.kill();
  const socket = paths.criSocket(shim.instance);
  assert.ok(existsSync(socket), 'a killed shim leaves its socket');
  // A lock file that names a process that lives, but does not hold it, means nothing.
  writeFileSync(join(run, 'shim.lock'), JSON.stringify({ pid: process.pid, startTime: 1 }));
  await shim.start();
  await shim.kill();
  rmSync(socket);
  const other = createServer().listen(socket);
  await waitFor(() => existsSync(socket));
  const { code, stderr } = await start('--home', home, '--run', run);
  assert.equal(code, 1);
  assert.match(stderr, /another process listens on .*cri\.sock/);
  assert.ok(statSync(socket).isSocket(), 'the socket of the other process is left alone');
  await new Promise((resolve) => other.close(resolve));
  // Somebody's plain file is in the way: nobody answers there either.
  mkdirSync(run, { recursive: true });
  writeFileSync(socket, '');
  await shim.start();
  assert.equal((await shim.cri.runtime.version({})).runtimeName, 'windlass');
  assert.equal(describeInstance(home, run).id, shim.instance.id);
});
