// ContainerStats, ListContainerStats, PodSandboxStats, ListPodSandboxStats.
import type { ContainerId, Draft, PodSandboxId, StringMap, Value } from '../../cri/messages.ts';
import type {
  ContainerStats,
  ContainerStatsResponse,
  ListContainerStatsRequest,
  ListContainerStatsResponse,
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponse,
  MemoryUsage,
  PodSandboxStats,
  PodSandboxStatsResponse,
  PsiStats,
} from '../../cri/stats-messages.ts';
import type { CgroupMeasures, Pressure, PressureLine } from '../cgroups/measures.ts';
import { readLinkCounters } from '../network/counters.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { CpuRates } from './cpu-rates.ts';
import type { Shim } from './deps.ts';
import { containersOf, getContainer, getSandbox } from './lookup.ts';
import { rootFilesystemId } from './root-filesystem.ts';
import { selectReady, selectRunning } from './select.ts';
import { nanoseconds } from './status-messages.ts';

export async function containerStats(
  shim: Shim,
  rates: CpuRates,
  { containerId }: ContainerId,
): Promise<Draft<ContainerStatsResponse>> {
  return { stats: await measureContainer(shim, rates, getContainer(shim, containerId)) };
}

/** Running containers only: the others use nothing. */
export async function listContainerStats(
  shim: Shim,
  rates: CpuRates,
  { filter }: ListContainerStatsRequest,
): Promise<Draft<ListContainerStatsResponse>> {
  const stats: Draft<ContainerStats>[] = [];
  for (const record of selectRunning(shim, filter)) stats.push(await measureContainer(shim, rates, record));
  return { stats };
}

export async function podSandboxStats(
  shim: Shim,
  rates: CpuRates,
  { podSandboxId }: PodSandboxId,
): Promise<Draft<PodSandboxStatsResponse>> {
  return { stats: await measureSandbox(shim, rates, getSandbox(shim, podSandboxId)) };
}

export async function listPodSandboxStats(
  shim: Shim,
  rates: CpuRates,
  { filter }: ListPodSandboxStatsRequest,
): Promise<Draft<ListPodSandboxStatsResponse>> {
  const stats: Draft<PodSandboxStats>[] = [];
  for (const record of selectReady(shim, filter)) stats.push(await measureSandbox(shim, rates, record));
  return { stats };
}

/** Measures a container; one without a control group has attributes and disk usage only. */
export async function measureContainer(
  shim: Shim,
  rates: CpuRates,
  record: ContainerRecord,
): Promise<Draft<ContainerStats>> {
  const usage = await shim.images.rootFilesystem(rootFilesystemId(record))?.usage();
  const measures = shim.cgroups.measures(record.cgroupsPath);
  const nowMs = shim.clock.now();
  const timestamp = nanoseconds(nowMs);
  const { metadata, labels, annotations } = record.config;
  return {
    attributes: { id: record.id, metadata, labels, annotations },
    ...(measures ? usageOf(measures, timestamp, rates.update(record.id, measures.cpu.usageNs, nowMs)) : {}),
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

function usageOf({ cpu, memory, limits, pressure }: CgroupMeasures, timestamp: number, rate: number | undefined) {
  const { memoryBytes, memorySwapBytes } = limits;
  const swapLimit =
    memoryBytes === undefined || memorySwapBytes === undefined ? undefined : memorySwapBytes - memoryBytes;
  return {
    cpu: {
      timestamp,
      usageCoreNanoSeconds: { value: cpu.usageNs },
      usageNanoCores: rate === undefined ? null : { value: rate },
      psi: toPsi(pressure?.cpu),
    },
    memory: { ...memoryOf(memory, memoryBytes, timestamp), psi: toPsi(pressure?.memory) },
    swap: {
      timestamp,
      swapUsageBytes: { value: memory.swapBytes },
      swapAvailableBytes: swapLimit === undefined ? null : { value: Math.max(swapLimit - memory.swapBytes, 0) },
    },
    io: pressure ? { timestamp, psi: toPsi(pressure.io) } : null,
  };
}

function memoryOf(memory: CgroupMeasures['memory'], limit: number | undefined, timestamp: number): Draft<MemoryUsage> {
  return {
    timestamp,
    workingSetBytes: { value: memory.workingSetBytes },
    availableBytes: limit === undefined ? null : { value: Math.max(limit - memory.workingSetBytes, 0) },
    usageBytes: { value: memory.usageBytes },
    rssBytes: { value: memory.rssBytes },
    pageFaults: { value: memory.pageFaults[1] },
    majorPageFaults: { value: memory.majorPageFaults[1] },
  };
}

function toPsi(pressure: Pressure | undefined): PsiStats | null {
  const line = ({ totalUs, avg10, avg60, avg300 }: PressureLine) => ({
    Total: totalUs * 1000,
    Avg10: avg10,
    Avg60: avg60,
    Avg300: avg300,
  });
  return pressure ? { Full: line(pressure.full), Some: line(pressure.some) } : null;
}

/** Measures a sandbox: the sum of its running containers, and its links. */
export async function measureSandbox(
  shim: Shim,
  rates: CpuRates,
  record: SandboxRecord,
): Promise<Draft<PodSandboxStats>> {
  const running = containersOf(shim, record.id).filter(({ phase }) => phase === 'running');
  const containers: Draft<ContainerStats>[] = [];
  for (const container of running) containers.push(await measureContainer(shim, rates, container));
  const timestamp = nanoseconds(shim.clock.now());
  const { metadata, labels, annotations } = record.config;
  const { net } = record.namespaces;
  const interfaces = (net === undefined ? [] : readLinkCounters(net)).map((link) => ({
    name: link.name,
    rxBytes: { value: link.rxBytes },
    rxErrors: { value: link.rxErrors },
    txBytes: { value: link.txBytes },
    txErrors: { value: link.txErrors },
  }));
  const pressure = podPressure(shim, record);
  const processCount = running.reduce((sum, { cgroupsPath }) => sum + shim.cgroups.pids(cgroupsPath).length, 0);
  return {
    attributes: { id: record.id, metadata, labels: labels as StringMap, annotations },
    linux: {
      cpu: {
        timestamp,
        usageCoreNanoSeconds: sum(containers.map(({ cpu }) => cpu?.usageCoreNanoSeconds)),
        usageNanoCores: sum(containers.map(({ cpu }) => cpu?.usageNanoCores)),
        psi: toPsi(pressure?.cpu),
      },
      memory: {
        timestamp,
        workingSetBytes: sum(containers.map(({ memory }) => memory?.workingSetBytes)),
        usageBytes: sum(containers.map(({ memory }) => memory?.usageBytes)),
        rssBytes: sum(containers.map(({ memory }) => memory?.rssBytes)),
        pageFaults: sum(containers.map(({ memory }) => memory?.pageFaults)),
        majorPageFaults: sum(containers.map(({ memory }) => memory?.majorPageFaults)),
        psi: toPsi(pressure?.memory),
      },
      network: { timestamp, defaultInterface: interfaces[0] ?? null, interfaces },
      process: { timestamp, processCount: { value: processCount } },
      containers,
      io: pressure ? { timestamp, psi: toPsi(pressure.io) } : null,
    },
  };
}

/**
 * Pressure cannot be summed up over containers: it is that of the group the caller made for the sandbox, if it is the
 * only one in it.
 */
function podPressure(shim: Shim, { id, config }: SandboxRecord): CgroupMeasures['pressure'] {
  const parent = config.linux?.cgroupParent ?? '';
  const isShared = shim.store.sandboxes
    .list()
    .some((other) => other.id !== id && other.config.linux?.cgroupParent === parent);
  return parent === '' || isShared ? undefined : shim.cgroups.measures(parent)?.pressure;
}

/** Null when one of them lacks the measure: half a sum would look like a drop. */
function sum(values: readonly (Draft<Value> | null | undefined)[]): Value | null {
  let total = 0;
  for (const value of values) {
    if (value?.value === undefined) return null;
    total += value.value;
  }
  return { value: total };
}
