// What a node keeps of a sandbox that is gone, seen over many of them: nothing. `npm test` looks at a few for objects and
// files; the long tier makes a thousand and looks at memory too.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { pickSubnet } from '../../support/own-subnet.ts';
import { requireFeature, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const AT_ONCE = 5;
/** What a cycle may cost for ever, were all of the growth a leak: far below a record, a log or an event kept. */
const MAX_KIB_PER_CYCLE = 10;

const isLong = process.env['WINDLASS_LONG'] === '1';

test('containers come and go and the node stays as it was', async (t) => {
  if (!requireRoot(t)) return;
  await soak(t, { warmUp: 10, cycles: 30 });
});

test('a thousand containers come and go and the shim does not grow', { timeout: 1_800_000 }, async (t) => {
  if (!requireRoot(t) || !requireFeature(t, isLong, 'takes minutes: npm run test:long')) return;
  // The heap and malloc's arenas reach their size during the warm-up.
  const kibPerCycle = await soak(t, { warmUp: 200, cycles: 1000 });
  assert.ok(kibPerCycle < MAX_KIB_PER_CYCLE, `${kibPerCycle} KiB of memory per container`);
});

/** Growth of the resident memory per cycle after the warm-up, in KiB. */
async function soak(t: TestContext, { warmUp, cycles }: { warmUp: number; cycles: number }): Promise<number> {
  await using shim = await startTestShim({
    sandboxPool: 0,
    // A small heap that is collected often: what grows then is what is kept.
    nodeFlags: ['--max-semi-space-size=1', '--max-old-space-size=96'],
    env: () => ({ MALLOC_ARENA_MAX: '2' }),
  });
  const prefix = pickSubnet();
  const network = {
    id: 'leaks/net',
    subnets: [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1`, ranges: [] }],
    ...{ internal: true, isolated: false, mtu: 1500, domain: 'leaks' },
  };
  await shim.cri.node.ensureNetwork({ network });
  await runCycles(shim, 0, warmUp);
  const before = await takeEmptySnapshot(shim.instance);
  const [fds, rss] = measure(shim);
  const started = performance.now();
  await runCycles(shim, warmUp, warmUp + cycles);
  const seconds = (performance.now() - started) / 1000;
  await equalsSnapshot(shim.instance, before);
  // Connections that idle and a timer may hold one or another descriptor for a moment.
  await waitFor(() => measure(shim)[0] <= fds + 2, { what: `${fds} open files of the shim` });
  const [fdsAfter, rssAfter] = measure(shim);
  const kibPerCycle = (rssAfter - rss) / cycles;
  t.diagnostic(
    `${cycles} cycles in ${seconds.toFixed(0)} s; resident memory ${rss} KiB, then ${rssAfter} KiB: ` +
      `${kibPerCycle.toFixed(2)} KiB per cycle; open files ${fds}, then ${fdsAfter}`,
  );
  return kibPerCycle;
}

async function runCycles(shim: TestShim, from: number, to: number): Promise<void> {
  for (let first = from; first < to; first += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, slot) => runOne(shim, `leak-${first + slot}`)));
  }
}

/** Everything a container can hold: an address, a log that is rotated, an exec, an image view, a volume with copy-up. */
async function runOne(shim: TestShim, name: string): Promise<void> {
  const { runtime, node } = shim.cri;
  const volume = join(shim.logs, '..', 'volumes', name);
  mkdirSync(volume, { recursive: true });
  assert.ok((await node.copyUp({ image: BUSYBOX, imagePath: '/etc', destination: volume })).copied);
  const podSandboxId = await shim.runSandbox(name, {
    annotations: { 'network.windlass.dev/attachments': JSON.stringify([{ network: 'leaks/net', names: [name] }]) },
  });
  const containerId = await shim.create(podSandboxId, {
    command: ['sh', '-c', 'echo said; exec sleep 1000'],
    mounts: [
      { containerPath: '/data', hostPath: volume },
      { containerPath: '/image', readonly: true, image: { image: BUSYBOX } },
    ],
  });
  await runtime.startContainer({ containerId });
  assert.match(await shim.exec(containerId, 'cat', '/data/passwd', '/image/etc/group'), /root/);
  const { logPath } = await shim.status(containerId);
  renameSync(logPath, `${logPath}.1`);
  await runtime.reopenContainerLog({ containerId });
  await runtime.stopContainer({ containerId, timeout: 0 });
  await runtime.stopPodSandbox({ podSandboxId });
  await runtime.removePodSandbox({ podSandboxId });
  rmSync(volume, { recursive: true });
}

/** Open files of the shim, its resident memory in KiB. */
function measure({ process: shim }: TestShim): [number, number] {
  const status = readFileSync(`/proc/${shim.pid}/status`, 'utf8');
  return [readdirSync(`/proc/${shim.pid}/fd`).length, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1])];
}
