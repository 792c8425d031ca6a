// Long tier: what a node keeps of a container that is gone, seen over many of them.
import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import { takeHostSnapshot } from '../../support/host-snapshot.ts';
import { requireFeature, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const CYCLES = 300;
const AT_ONCE = 5;
/** The heap and malloc's arenas reach their size during these. */
const WARM_UP = 60;
/** What a cycle may cost for ever, were all of the growth a leak: far below a record, a log or an event kept. */
const MAX_KIB_PER_CYCLE = 40;

const isLong = process.env['WINDLASS_LONG'] === '1';

test(`${CYCLES} containers come and go and the node stays as it was`, { timeout: 600_000 }, async (t) => {
  if (!requireRoot(t) || !requireFeature(t, isLong, 'takes minutes: npm run test:long')) return;
  // A small heap that is collected often: what grows then is what is kept.
  process.env['NODE_OPTIONS'] = '--max-semi-space-size=1 --max-old-space-size=96';
  process.env['MALLOC_ARENA_MAX'] = '2';
  await using shim = await startTestShim();
  const network = {
    id: 'leaks/net',
    subnets: [{ cidr: '10.251.7.0/24', gateway: '10.251.7.1', ranges: [] }],
    ...{ internal: true, isolated: false, mtu: 1500, domain: 'leaks' },
  };
  await shim.cri.node.ensureNetwork({ network });
  await runCycles(shim, 0, WARM_UP);
  const look = () => ownObjects(shim);
  const before = look();
  const [fds, files, cgroups, rss] = measure(shim);
  await runCycles(shim, WARM_UP, CYCLES);
  await waitFor(() => JSON.stringify(look()) === JSON.stringify(before), {
    what: 'mounts, namespaces, links, control groups and processes as they were before',
    timeoutMs: 20_000,
  }).catch(() => assert.deepEqual(look(), before));
  // Connections that idle and a timer may hold one or another descriptor for a moment.
  await waitFor(() => measure(shim)[0] <= fds + 2, { what: `${fds} open files of the shim` });
  const [, filesAfter, cgroupsAfter, rssAfter] = measure(shim);
  assert.equal(filesAfter, files, 'files of the run folder');
  assert.equal(cgroupsAfter, cgroups, 'control groups');
  const grown = (rssAfter - rss) / (CYCLES - WARM_UP);
  t.diagnostic(`resident memory ${rss} KiB, then ${rssAfter} KiB: ${grown.toFixed(1)} KiB per container`);
  assert.ok(grown < MAX_KIB_PER_CYCLE, `${grown} KiB of memory per container`);
});

/** A node that runs beside this one may come and go with mounts and links of its own. */
function ownObjects({ instance }: TestShim): object {
  const { mounts, links, cgroups, ...others } = takeHostSnapshot(instance);
  const [prefix, id] = [kernelNames.linkPrefix(instance), instance.id];
  return {
    mounts: mounts.filter((line) => line.includes(instance.run) || line.includes(instance.home)),
    links: links.filter((name) => name.startsWith(prefix)),
    cgroups: cgroups.filter((path) => path.includes(id)),
    processes: others.processes,
    networkNamespaces: others.networkNamespaces,
  };
}

async function runCycles(shim: TestShim, from: number, to: number): Promise<void> {
  for (let first = from; first < to; first += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, slot) => runOne(shim, `leak-${first + slot}`)));
  }
}

async function runOne(shim: TestShim, name: string): Promise<void> {
  const podSandboxId = await shim.runSandbox(name, {
    annotations: { 'network.windlass.dev/attachments': JSON.stringify([{ network: 'leaks/net', names: [name] }]) },
  });
  const containerId = await shim.create(podSandboxId, { command: ['sleep', '1000'] });
  await shim.cri.runtime.startContainer({ containerId });
  await shim.exec(containerId, 'true');
  await shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
  await shim.cri.runtime.stopPodSandbox({ podSandboxId });
  await shim.cri.runtime.removePodSandbox({ podSandboxId });
}

/** Open files of the shim, files in its run folder, its control groups, its resident memory in KiB. */
function measure({ instance, process: shim }: TestShim): [number, number, number, number] {
  const status = readFileSync(`/proc/${shim.pid}/status`, 'utf8');
  return [
    readdirSync(`/proc/${shim.pid}/fd`).length,
    readdirSync(instance.run, { recursive: true }).length,
    globSync(`/sys/fs/cgroup/**/*${kernelNames.cgroupParent(instance).replace(/^\//, '')}/**`).length,
    Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]),
  ];
}
