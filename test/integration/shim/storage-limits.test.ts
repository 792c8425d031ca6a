// Resource limits of the disk: a container that fills its writable layer, with bytes or with files, meets its own end and
// nobody else's. Without project quotas the shim looks, and ends it; with them the kernel refuses the write.
import assert from 'node:assert/strict';
import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { mountTmpfs } from '../../../runtime-shim/host/mount.ts';
import { enforcesProjectQuota } from '../../../runtime-shim/host/project-quota.ts';
import { mustBuild } from '../../support/builds.ts';
import { requireFeature, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const MiB = 2 ** 20;
const isLong = process.env['WINDLASS_LONG'] === '1';
const BYTES = 'runtime.windlass.dev/ephemeral-storage';
const INODES = 'runtime.windlass.dev/ephemeral-inodes';
/** Files in folders of a thousand: names of one folder alone would take the time. */
const makeFiles = (count: number): string[] => [
  'sh',
  '-c',
  `i=0; while [ $i -lt ${Math.ceil(count / 1000)} ]; do mkdir /d$i && cd /d$i && seq 1000 | xargs touch || exit 3; i=$((i + 1)); done; exec sleep 1000`,
];
const fill = (size: string): string[] => ['sh', '-c', `yes | head -c ${size} > /big || exit 3; exec sleep 1000`];
const neighbour = { command: ['sh', '-c', 'while true; do echo tick > /file; cat /file; sleep 0.05; done'] };

/** Ended by the shim for what it wrote, with its layer gone from the disk. */
async function isEvicted(shim: TestShim, containerId: string, message: RegExp): Promise<void> {
  const status = await shim.waitForExit(containerId);
  assert.deepEqual([status.reason, status.exitCode], ['Evicted', 137]);
  assert.match(status.message, message);
  const isGone = (): boolean =>
    !layersOf(shim).includes(containerId) && readdirSync(join(paths.snapshots(shim.instance), 'staging')).length === 0;
  await waitFor(isGone, { what: 'the end of what it wrote', timeoutMs: 120_000 });
}

const layersOf = ({ instance }: TestShim): string[] => readdirSync(join(paths.snapshots(instance), 'containers'));

/** The neighbour has lived on and still writes. */
async function livesOn(shim: TestShim, containerId: string): Promise<void> {
  const { state } = await shim.status(containerId);
  assert.equal(state, 'CONTAINER_RUNNING');
  const lines = (await shim.readLog(containerId)).length;
  await waitFor(async () => (await shim.readLog(containerId)).length > lines, { what: 'more of the neighbour' });
  assert.equal(await shim.exec(containerId, 'cat', '/file'), 'tick');
}

const requireWatching = (t: Parameters<typeof requireFeature>[0], shim: TestShim): boolean =>
  requireFeature(
    t,
    !enforcesProjectQuota(shim.instance.home),
    'the kernel keeps limits on this file system: nobody is evicted',
  );

test('resource limits: a full upper layer', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!requireWatching(t, shim)) return;
  const other = await shim.run('neighbour', neighbour);
  const greedy = await shim.run('greedy', { command: fill('200m'), annotations: { [BYTES]: String(10 * MiB) } });
  await isEvicted(shim, greedy, /uses at least .*MB of 10\.5MB \(ephemeral-storage\)/);
  await livesOn(shim, other);
  await shim.cri.runtime.removeContainer({ containerId: greedy });
  // Below its limit, and told at the next look of a smaller one.
  const modest = await shim.run('modest', { command: fill('4m'), annotations: { [BYTES]: String(100 * MiB) } });
  await waitFor(async () => (await shim.exec(modest, 'stat', '-c', '%s', '/big')) === String(4 * MiB), {
    what: 'the file of the modest one',
  });
  await shim.cri.runtime.updateContainerResources({
    containerId: modest,
    linux: {},
    annotations: { [BYTES]: String(MiB) },
  });
  await isEvicted(shim, modest, /of 1\.05MB/);
});

test('resource limits: a million small files', { timeout: 600_000 }, async (t) => {
  if (!requireRoot(t)) return;
  const [files, limit] = isLong ? [1_000_000, 500_000] : [40_000, 20_000];
  await using shim = await startTestShim({ sandboxPool: 0 });
  if (!requireWatching(t, shim)) return;
  const other = await shim.run('neighbour', neighbour);
  const before = statfsSync(shim.instance.home);
  let worst = 0;
  const watching = new AbortController();
  const asking = (async () => {
    while (!watching.signal.aborted) {
      const started = performance.now();
      await shim.cri.runtime.version({});
      worst = Math.max(worst, performance.now() - started);
    }
  })();
  const greedy = await shim.run('greedy', { command: makeFiles(files), annotations: { [INODES]: String(limit) } });
  const started = performance.now();
  const status = await waitFor(
    async () => {
      const now = await shim.status(greedy);
      return now.state === 'CONTAINER_EXITED' && now;
    },
    { what: 'its end', timeoutMs: 300_000 },
  );
  const used = before.ffree - statfsSync(shim.instance.home).ffree;
  await isEvicted(shim, greedy, new RegExp(`of ${limit} files and folders \\(inodes\\)`));
  watching.abort();
  await asking;
  t.diagnostic(
    `ended after ${((performance.now() - started) / 1000).toFixed(1)} s with about ${used} inodes of ${limit}: ` +
      `${status.message}; slowest answer of the shim ${worst.toFixed(0)} ms`,
  );
  await livesOn(shim, other);
});

test('resource limits: what is hidden from a look at names counts: deleted files, deep folders, odd names', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0, flags: ['--ephemeral-storage-limit', '20Mi'] });
  if (!requireWatching(t, shim)) return;
  const annotations = { [INODES]: '0' };
  const scripts = {
    deleted: 'exec 3> /gone; rm /gone; yes | head -c 80m >&3; exec sleep 1000',
    deep: 'i=0; while [ $i -lt 60 ]; do n=$(printf %0100d $i); mkdir $n && cd $n; i=$((i + 1)); done; yes | head -c 80m > f; exec sleep 1000',
    odd: `d=$(printf '/\\377\\376'); mkdir "$d"; yes | head -c 80m > "$d/f"; exec sleep 1000`,
  };
  const ids = await Promise.all(
    Object.entries(scripts).map(([name, script]) => shim.run(name, { command: ['sh', '-c', script], annotations })),
  );
  for (const id of ids) await isEvicted(shim, id, /of 21MB \(ephemeral-storage\)/);
});

test('a nearly full disk: the container with the largest layer goes, the others live on', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountTmpfs(root, 'size=400m') });
  const root = dirname(shim.instance.home);
  const other = await shim.run('neighbour', neighbour);
  const greedy = await shim.run('greedy', { command: fill('2000m') });
  await isEvicted(shim, greedy, /^the disk of the node is nearly full: .* kept for the node; its writable layer/);
  await livesOn(shim, other);
  const { bavail, blocks } = statfsSync(root);
  assert.ok(bavail > blocks / 2, 'what it wrote is gone');
  await shim.run('more', { command: ['sleep', '1000'] });
});

test('a nearly full disk: the cache of builds goes before any container does', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountTmpfs(root, 'size=600m') });
  const root = dirname(shim.instance.home);
  const [shell = '', flag = '', loop = ''] = neighbour.command;
  const other = await shim.run('neighbour', { command: [shell, flag, `head -c 60m /dev/zero > /mine; ${loop}`] });
  await waitFor(async () => (await shim.readLog(other)).length > 0, { what: 'the neighbour' });
  const inlineFiles = { Dockerfile: `FROM ${BUSYBOX}\nRUN head -c 100m /dev/zero > /large\n` };
  const { image } = await mustBuild(shim, { inlineFiles });
  await shim.cri.images.removeImage({ image: { image: image.imageId } });
  assert.equal((await shim.cri.node.buildCache({})).entries, 1);
  const { bavail, blocks, bsize } = statfsSync(root);
  writeFileSync(join(root, 'filler'), Buffer.alloc(bavail * bsize - 10 * MiB, 1));
  await waitFor(() => statfsSync(root).bavail > blocks / 10, { what: 'room again', timeoutMs: 60_000 });
  assert.equal((await shim.cri.node.buildCache({})).entries, 0);
  await livesOn(shim, other);
});

test('a nearly full disk: containers and images are refused, nobody ends who is not to blame', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0, prepare: (root) => mountTmpfs(root, 'size=400m') });
  const root = dirname(shim.instance.home);
  const other = await shim.run('neighbour', neighbour);
  const sandbox = await shim.runSandbox('full');
  const { bavail, bsize } = statfsSync(root);
  writeFileSync(join(root, 'filler'), Buffer.alloc(bavail * bsize - 5 * MiB, 1));
  const calls = [
    () => shim.create(sandbox, neighbour),
    () => shim.cri.images.pullImage({ image: { image: 'windlass.local/none:1' } }),
    () => shim.cri.node.importImage({ path: root, references: ['windlass.local/none:1'] }),
  ];
  for (const call of calls) {
    await assert.rejects(call(), {
      reason: 'Unavailable',
      message: /no space left for an? (container|image) below .*: .* of the disk are free, .* are kept for the node/,
    });
  }
  await livesOn(shim, other);
  rmSync(join(root, 'filler'));
  await shim.create(sandbox, neighbour);
});
