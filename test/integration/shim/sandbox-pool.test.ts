// The pool of sandboxes made ahead, on a live shim.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { kernelNames, paths } from '../../../lib/instance.ts';
import { umount, MNT } from '../../../runtime-shim/host/mount.ts';
import { linkIndex } from '../../../runtime-shim/host/rtnetlink.ts';
import { purgeInstance } from '../../../runtime-shim/purge.ts';
import { takeHostSnapshot } from '../../support/host-snapshot.ts';
import { pickSubnet } from '../../support/own-subnet.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const PREFIX = pickSubnet();
const NETWORK = {
  ...{ id: 'test/pooled', internal: false, isolated: false, mtu: 1500, domain: 'test' },
  subnets: [{ cidr: `${PREFIX}.0/24`, gateway: `${PREFIX}.1`, ranges: [] as string[] }],
};
const CAPACITY = 8;
let shim: TestShim;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim({ env: () => ({ WINDLASS_SANDBOX_POOL: String(CAPACITY) }) });
  await shim.cri.node.ensureNetwork({ network: NETWORK });
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

const attach = (attachment: object = {}): { annotations: Record<string, string> } => ({
  annotations: {
    'network.windlass.dev/attachments': JSON.stringify([{ network: NETWORK.id, names: [], ...attachment }]),
  },
});
const folder = (id = ''): string => join(paths.shimState(shim.instance), 's', id);
const sandboxIds = async (): Promise<string[]> => (await shim.cri.runtime.listPodSandbox({})).items.map(({ id }) => id);
/** Folders of sandboxes that nobody has taken. */
async function unused(): Promise<string[]> {
  const taken = new Set(await sandboxIds());
  return readdirSync(folder()).filter((id) => !taken.has(id));
}
const waitForFullPool = (): Promise<string[]> =>
  waitFor(
    async () => {
      const ids = await unused();
      return ids.length === CAPACITY && ids.every((id) => existsSync(join(folder(id), 'shm'))) && ids;
    },
    { what: 'a full pool', timeoutMs: 20_000 },
  );
const addressOf = async (podSandboxId: string): Promise<string> =>
  (await shim.cri.runtime.podSandboxStatus({ podSandboxId })).status?.network?.ip ?? '';
const removeAll = async (ids: readonly string[]): Promise<void> => {
  for (const podSandboxId of ids) await shim.cri.runtime.removePodSandbox({ podSandboxId });
};

test('a sandbox made ahead is taken once, is like any other, and is replaced', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  const first = await shim.runSandbox('cold', attach());
  const before = await waitForFullPool();
  const names = Array.from({ length: CAPACITY + 4 }, (_, index) => `warm-${index}`);
  const ids = await Promise.all(names.map((name) => shim.runSandbox(name, attach({ names: [name] }))));
  assert.deepEqual(
    before.filter((id) => ids.includes(id)).toSorted(),
    before.toSorted(),
    'everything that was ready is in use',
  );
  assert.equal(new Set(ids).size, ids.length, 'nobody shares one');
  const addresses = await Promise.all([first, ...ids].map(addressOf));
  assert.equal(new Set(addresses).size, addresses.length);
  const pooled = ids.find((id) => before.includes(id)) ?? '';
  const containerId = await shim.create(pooled, { command: ['sleep', '1000'] });
  await shim.cri.runtime.startContainer({ containerId });
  const name = names[ids.indexOf(pooled)];
  assert.equal(await shim.exec(containerId, 'hostname'), name);
  assert.match(await shim.exec(containerId, 'cat', '/etc/hosts'), new RegExp(`${await addressOf(pooled)}\t${name}`));
  assert.match(await shim.exec(containerId, 'ip', 'addr', 'show', 'eth0'), new RegExp(await addressOf(pooled)));
  await shim.exec(containerId, 'sh', '-c', 'echo x >/dev/shm/x');
  const after = await waitForFullPool();
  assert.ok(!after.some((id) => before.includes(id)), 'what was used is not offered again');
  await removeAll([first, ...ids]);
  assert.deepEqual(await sandboxIds(), []);
});

test('a sandbox with an address of its own is not taken from the pool', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  const ready = await waitForFullPool();
  const own = await shim.runSandbox('own', attach({ ipv4Address: `${PREFIX}.200` }));
  const none = await shim.runSandbox('none');
  assert.ok(!ready.includes(own) && !ready.includes(none));
  assert.equal(await addressOf(own), `${PREFIX}.200`);
  await removeAll([probe, own, none]);
});

test('an address that only the pool holds is given up for whoever asks for it', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  await waitForFullPool();
  const used = Number((await addressOf(probe)).split('.')[3]);
  const held = `${PREFIX}.${used + 1}`;
  const id = await shim.runSandbox('wants', attach({ ipv4Address: held }));
  assert.equal(await addressOf(id), held);
  await removeAll([probe, id]);
});

test('a pool that was damaged by hand is noticed: links come back, a lost namespace is not handed out', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  const ready = await waitForFullPool();
  const [victim = '', unpinned = ''] = ready;
  const link = kernelNames.veth(shim.instance, `${victim}/${NETWORK.id}`);
  execFileSync('ip', ['link', 'del', link]);
  await waitFor(() => linkIndex(link) !== 0, { what: 'the link' });
  umount(join(folder(unpinned), 'ns', 'uts'), MNT.detach);
  const ids: string[] = [];
  for (let index = 0; index < CAPACITY; index += 1) ids.push(await shim.runSandbox(`after-${index}`, attach()));
  assert.ok(!ids.includes(unpinned));
  assert.ok(ids.includes(victim));
  await waitFor(() => !existsSync(folder(unpinned)), { what: 'the damaged one to go' });
  await removeAll([probe, ...ids]);
});

test('a network can be removed while sandboxes are kept ready on it', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  await waitForFullPool();
  await assert.rejects(shim.cri.node.removeNetwork({ networkId: NETWORK.id }), { reason: 'Conflict' });
  await removeAll([probe]);
  await shim.cri.node.removeNetwork({ networkId: NETWORK.id });
  assert.equal(linkIndex(kernelNames.bridge(shim.instance, NETWORK.id)), 0);
  assert.deepEqual(await unused(), []);
  await shim.cri.node.ensureNetwork({ network: NETWORK });
});

test('no address of a range that the node has lost is handed out', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  await waitForFullPool();
  await removeAll([probe]);
  const [subnet] = NETWORK.subnets;
  const ranges = [`${PREFIX}.128/26`];
  await shim.cri.node.ensureNetwork({ network: { ...NETWORK, subnets: subnet ? [{ ...subnet, ranges }] : [] } });
  assert.deepEqual(await unused(), []);
  const id = await shim.runSandbox('in-range', attach());
  const last = Number((await addressOf(id)).split('.')[3]);
  assert.ok(last >= 128 && last < 192, `${PREFIX}.${last} is not in ${ranges[0]}`);
  await removeAll([id]);
  await shim.cri.node.ensureNetwork({ network: NETWORK });
});

test('what a killed shim kept ready is removed by the next one, addresses included', async (t) => {
  if (!requireRoot(t)) return;
  const probe = await shim.runSandbox('probe', attach());
  const ready = await waitForFullPool();
  await shim.kill();
  await shim.start();
  assert.deepEqual(await sandboxIds(), [probe]);
  assert.deepEqual(await unused(), []);
  const links = ready.map((id) => kernelNames.veth(shim.instance, `${id}/${NETWORK.id}`));
  await waitFor(() => links.every((link) => linkIndex(link) === 0), { what: 'the links to go' });
  await removeAll([probe]);
});

test('purge removes what was kept ready', async (t) => {
  if (!requireRoot(t)) return;
  const doomed = await startTestShim({ env: () => ({ WINDLASS_SANDBOX_POOL: String(CAPACITY) }) });
  const prefix = pickSubnet();
  await doomed.cri.node.ensureNetwork({
    network: { ...NETWORK, subnets: [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1`, ranges: [] }] },
  });
  const probe = await doomed.runSandbox('probe', attach());
  const sandboxes = join(paths.shimState(doomed.instance), 's');
  await waitFor(() => readdirSync(sandboxes).length > CAPACITY, { what: 'a full pool' });
  await doomed.cri.runtime.removePodSandbox({ podSandboxId: probe });
  await doomed.kill();
  await purgeInstance(doomed.instance);
  const { mounts, links } = takeHostSnapshot(doomed.instance);
  const own = [kernelNames.linkPrefix(doomed.instance), doomed.instance.run];
  assert.deepEqual(
    [...mounts, ...links].filter((line) => own.some((name) => line.includes(name))),
    [],
  );
  await doomed[Symbol.asyncDispose]();
});
