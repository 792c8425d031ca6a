// ContainerStats, ListContainerStats, PodSandboxStats, ListPodSandboxStats.
import { readFileSync } from 'node:fs';
import type { ContainerId, Draft, PodSandboxId, StringMap } from '../../cri/messages.ts';
import type {
  ContainerStats,
  ContainerStatsResponse,
  ListContainerStatsRequest,
  ListContainerStatsResponse,
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponse,
  NetworkInterfaceUsage,
  PodSandboxStats,
  PodSandboxStatsResponse,
} from '../../cri/stats-messages.ts';
import { errnoOf } from '../../lib/errors.ts';
import type { CgroupStats } from '../cgroups/cgroups.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { containersOf, getContainer, getSandbox, matchesLabels } from './lookup.ts';
import { rootFilesystemId } from './root-filesystem.ts';
import { nanoseconds } from './status-messages.ts';

export async function containerStats(shim: Shim, { containerId }: ContainerId): Promise<Draft<ContainerStatsResponse>> {
  return { stats: await measure(shim, getContainer(shim, containerId)) };
}

/** Running containers only: the others use nothing. */
export async function listContainerStats(
  shim: Shim,
  { filter }: ListContainerStatsRequest,
): Promise<Draft<ListContainerStatsResponse>> {
  const running = shim.store.containers
    .list()
    .filter(
      (record) =>
        record.phase === 'running' &&
        (!filter?.id || record.id.startsWith(filter.id)) &&
        (!filter?.podSandboxId || record.sandboxId.startsWith(filter.podSandboxId)) &&
        matchesLabels(record.config.labels, filter?.labelSelector ?? {}),
    );
  return { stats: await Promise.all(running.map((record) => measure(shim, record))) };
}

export async function podSandboxStats(
  shim: Shim,
  { podSandboxId }: PodSandboxId,
): Promise<Draft<PodSandboxStatsResponse>> {
  return { stats: await measureSandbox(shim, getSandbox(shim, podSandboxId)) };
}

export async function listPodSandboxStats(
  shim: Shim,
  { filter }: ListPodSandboxStatsRequest,
): Promise<Draft<ListPodSandboxStatsResponse>> {
  const ready = shim.store.sandboxes
    .list()
    .filter(
      (record) =>
        record.phase === 'ready' &&
        (!filter?.id || record.id.startsWith(filter.id)) &&
        matchesLabels(record.config.labels, filter?.labelSelector ?? {}),
    );
  return { stats: await Promise.all(ready.map((record) => measureSandbox(shim, record))) };
}

async function measure(shim: Shim, record: ContainerRecord): Promise<Draft<ContainerStats>> {
  const timestamp = nanoseconds(shim.clock.now());
  const stats = shim.cgroups.stats(record.cgroupsPath);
  const usage = await shim.images.rootFilesystem(rootFilesystemId(record))?.usage();
  const { metadata, labels, annotations } = record.config;
  return {
    attributes: { id: record.id, metadata, labels, annotations },
    ...(stats ? { cpu: cpuOf(timestamp, stats.cpuUsageNs), memory: memoryOf(timestamp, stats) } : {}),
    ...(stats ? { swap: { timestamp, swapUsageBytes: { value: stats.swapUsageBytes } } } : {}),
    ...(usage
      ? {
          writableLayer: {
            timestamp,
            fsId: { mountpoint: shim.instance.home },
            usedBytes: { value: usage.usedBytes },
            inodesUsed: { value: usage.inodes },
          },
        }
      : {}),
  };
}

function cpuOf(timestamp: number, usageNs: number) {
  return { timestamp, usageCoreNanoSeconds: { value: usageNs } };
}

function memoryOf(timestamp: number, stats: CgroupStats) {
  const { workingSetBytes, memoryLimitBytes } = stats;
  return {
    timestamp,
    workingSetBytes: { value: workingSetBytes },
    ...(memoryLimitBytes === undefined
      ? {}
      : { availableBytes: { value: Math.max(memoryLimitBytes - workingSetBytes, 0) } }),
    usageBytes: { value: stats.memoryUsageBytes },
    rssBytes: { value: stats.rssBytes },
    pageFaults: { value: stats.pageFaults },
    majorPageFaults: { value: stats.majorPageFaults },
  };
}

async function measureSandbox(shim: Shim, record: SandboxRecord): Promise<Draft<PodSandboxStats>> {
  const timestamp = nanoseconds(shim.clock.now());
  const running = containersOf(shim, record.id).filter(({ phase }) => phase === 'running');
  const groups = running.flatMap(({ cgroupsPath }) => shim.cgroups.stats(cgroupsPath) ?? []);
  const sum = (pick: (stats: CgroupStats) => number): number => groups.reduce((total, stats) => total + pick(stats), 0);
  const interfaces = record.namespaces.net === undefined ? [] : readInterfaces(running);
  const { metadata, labels, annotations } = record.config;
  return {
    attributes: { id: record.id, metadata, labels: labels as StringMap, annotations },
    linux: {
      cpu: cpuOf(
        timestamp,
        sum((stats) => stats.cpuUsageNs),
      ),
      memory: {
        timestamp,
        workingSetBytes: { value: sum((stats) => stats.workingSetBytes) },
        usageBytes: { value: sum((stats) => stats.memoryUsageBytes) },
        rssBytes: { value: sum((stats) => stats.rssBytes) },
      },
      network: { timestamp, defaultInterface: interfaces[0] ?? null, interfaces },
      process: { timestamp, processCount: { value: sum((stats) => stats.processes) } },
      containers: await Promise.all(running.map((container) => measure(shim, container))),
    },
  };
}

/** Counters of the sandbox's links, as a process in it sees them: no need to enter its namespace. */
function readInterfaces(running: readonly ContainerRecord[]): Draft<NetworkInterfaceUsage>[] {
  const pid = running.find(({ init }) => init)?.init?.pid;
  if (pid === undefined) return [];
  try {
    return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL' || errnoOf(error) === 'ESRCH') return [];
    throw error;
  }
}

/** Parses /proc/PID/net/dev; loopback is left out. */
export function parseNetDev(text: string): Draft<NetworkInterfaceUsage>[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    const name = match?.[1];
    if (name === undefined || name === 'lo') return [];
    const counts = (match?.[2] ?? '').split(/\s+/).map(Number);
    const count = (index: number) => ({ value: counts[index] ?? 0 });
    return [{ name, rxBytes: count(0), rxErrors: count(2), txBytes: count(8), txErrors: count(10) }];
  });
}
