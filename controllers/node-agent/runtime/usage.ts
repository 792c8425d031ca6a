// CRI's statistics as plain numbers; what the runtime does not know is 0.
import type { ContainerStats, PodSandboxStats } from '../../../cri/stats-messages.ts';
import type { ContainerUsage, SandboxUsage } from './node-runtime.ts';

export function toContainerUsage(stats: ContainerStats): ContainerUsage {
  return {
    containerId: stats.attributes?.id ?? '',
    name: stats.attributes?.metadata?.name ?? '',
    labels: stats.attributes?.labels ?? {},
    cpuNanoSeconds: stats.cpu?.usageCoreNanoSeconds?.value ?? 0,
    cpuReadAtMs: (stats.cpu?.timestamp ?? 0) / 1e6,
    workingSetBytes: stats.memory?.workingSetBytes?.value ?? 0,
    usageBytes: stats.memory?.usageBytes?.value ?? 0,
    rssBytes: stats.memory?.rssBytes?.value ?? 0,
    writableBytes: stats.writableLayer?.usedBytes?.value ?? 0,
  };
}

export function toSandboxUsage(stats: PodSandboxStats): SandboxUsage {
  return {
    name: stats.attributes?.metadata?.name ?? '',
    namespace: stats.attributes?.metadata?.namespace ?? '',
    interfaces: (stats.linux?.network?.interfaces ?? []).map((one) => ({
      name: one.name,
      rxBytes: one.rxBytes?.value ?? 0,
      txBytes: one.txBytes?.value ?? 0,
      rxErrors: one.rxErrors?.value ?? 0,
      txErrors: one.txErrors?.value ?? 0,
    })),
  };
}
