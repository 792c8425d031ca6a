// spec.resources as the kernel's numbers.
import { RUNTIME_ANNOTATIONS } from '../../../cri/annotations.ts';
import type { Resources } from '../../../crds/container-process.ts';
import { parseQuantity } from '../../../lib/quantity.ts';
import type { LinuxResources } from '../runtime/node-runtime.ts';

const CPU_PERIOD_US = 100_000;
/** The kernel refuses a quota below 1 ms. */
const MIN_QUOTA_US = 1000;

/** CRI resources; 0 stands for "no limit" and is what CRI sends for it. */
export function linuxResources(resources: Resources | undefined): LinuxResources {
  const cpuLimit = amount(resources?.limits?.cpu);
  const cpuRequest = amount(resources?.requests?.cpu) ?? cpuLimit;
  const memory = amount(resources?.limits?.memory);
  const pids = resources?.limits?.pids;
  return {
    cpuPeriod: cpuLimit === undefined ? 0 : CPU_PERIOD_US,
    cpuQuota: cpuLimit === undefined ? 0 : Math.max(Math.round(cpuLimit * CPU_PERIOD_US), MIN_QUOTA_US),
    cpuShares: cpuRequest === undefined ? 0 : Math.min(Math.max(Math.round(cpuRequest * 1024), 2), 262_144),
    memoryLimitInBytes: memory === undefined ? 0 : Math.ceil(memory),
    ...(pids === undefined ? {} : { unified: { 'pids.max': String(pids) } }),
  };
}

/** What CRI has no field for: limits of the writable layer, for the runtime's annotations. */
export function storageAnnotations(resources: Resources | undefined): Record<string, string> {
  const bytes = amount(resources?.limits?.['ephemeral-storage']);
  const inodes = resources?.limits?.inodes;
  return {
    ...(bytes === undefined ? {} : { [RUNTIME_ANNOTATIONS.ephemeralStorage]: String(Math.ceil(bytes)) }),
    ...(inodes === undefined ? {} : { [RUNTIME_ANNOTATIONS.ephemeralInodes]: String(inodes) }),
  };
}

/** Takes the limits of before away, for the runtime to use its own again. */
export const NO_STORAGE_LIMITS: Readonly<Record<string, string>> = {
  [RUNTIME_ANNOTATIONS.ephemeralStorage]: '',
  [RUNTIME_ANNOTATIONS.ephemeralInodes]: '',
};

function amount(quantity: string | number | undefined): number | undefined {
  return quantity === undefined ? undefined : parseQuantity(quantity);
}
