// CRI's resources as what the kernel takes.
import { WindlassError } from '../../lib/errors.ts';
import { checkHugepages, type HugepageLimit } from './hugepages.ts';

/** Limits to set; an absent one stays as it is, -1 = no limit. */
export interface WritableResources {
  readonly cpuPeriodUs?: number;
  readonly cpuQuotaUs?: number;
  readonly cpuShares?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly memoryBytes?: number;
  /** Memory and swap together. */
  readonly memorySwapBytes?: number;
  readonly pids?: number;
  /** Checked against what the host has, see hugepages.ts. */
  readonly hugepages?: readonly HugepageLimit[];
  /** cgroup v2 files by name; refused on v1. */
  readonly unified?: Readonly<Record<string, string>>;
}

interface CriResources {
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimitInBytes: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly hugepageLimits: readonly HugepageLimit[];
  readonly unified: Readonly<Record<string, string>>;
  readonly memorySwapLimitInBytes: number;
}

const MIN_MEMORY_BYTES = 512 * 1024;

/**
 * Parses and checks; Invalid names the field. Zero means "not said" in CRI; `pids.max` in unified is the pids limit.
 * `hugepageSizes` are those that can be limited here.
 */
export function toWritableResources(
  resources: CriResources | null,
  hugepageSizes: ReadonlySet<string> = new Set(),
): WritableResources {
  if (!resources) return {};
  const { 'pids.max': pidsMax, ...unified } = resources.unified;
  for (const [field, value] of [
    ['cpuset_cpus', resources.cpusetCpus],
    ['cpuset_mems', resources.cpusetMems],
  ] as const) {
    if (!/^[\d,-]*$/.test(value))
      throw new WindlassError('Invalid', `resources.${field}: invalid list ${JSON.stringify(value)}`);
  }
  for (const [key, value] of Object.entries(unified)) {
    if (!/^[a-z]+\.[a-z0-9._]+$/.test(key) || key.startsWith('cgroup.') || /[\n\0]/.test(value)) {
      throw new WindlassError('Invalid', `resources.unified: invalid entry ${JSON.stringify(key)}`);
    }
  }
  if (resources.memoryLimitInBytes > 0 && resources.memoryLimitInBytes < MIN_MEMORY_BYTES) {
    throw new WindlassError(
      'Invalid',
      `resources.memory_limit_in_bytes: ${resources.memoryLimitInBytes} is below ${MIN_MEMORY_BYTES}`,
    );
  }
  const { memoryLimitInBytes: memory, memorySwapLimitInBytes: withSwap } = resources;
  if (withSwap > 0 && memory > withSwap) {
    throw new WindlassError(
      'Invalid',
      `resources.memory_swap_limit_in_bytes: ${withSwap}, memory and swap together, is below the memory limit ${memory}`,
    );
  }
  const hugepages = checkHugepages(resources.hugepageLimits, hugepageSizes);
  return {
    ...positive('cpuPeriodUs', resources.cpuPeriod),
    ...positive('cpuQuotaUs', resources.cpuQuota),
    ...positive('cpuShares', resources.cpuShares),
    ...(resources.cpusetCpus === '' ? {} : { cpusetCpus: resources.cpusetCpus }),
    ...(resources.cpusetMems === '' ? {} : { cpusetMems: resources.cpusetMems }),
    ...positive('memoryBytes', resources.memoryLimitInBytes),
    ...positive('memorySwapBytes', resources.memorySwapLimitInBytes),
    ...(pidsMax === undefined ? {} : { pids: parsePids(pidsMax) }),
    ...(hugepages.length === 0 ? {} : { hugepages }),
    ...(Object.keys(unified).length === 0 ? {} : { unified }),
  };
}

function positive<Key extends string>(key: Key, value: number): Partial<Record<Key, number>> {
  return value === 0 ? {} : ({ [key]: value } as Partial<Record<Key, number>>);
}

function parsePids(text: string): number {
  if (text === 'max' || text === '-1' || text === '0') return -1;
  if (!/^\d{1,9}$/.test(text))
    throw new WindlassError('Invalid', `resources.unified: invalid pids.max ${JSON.stringify(text)}`);
  return Number(text);
}

/** CPU shares (v1, 2 to 262144) as a weight (v2, 1 to 10000), the conversion that OCI runtimes use. */
export function weightOfShares(shares: number): number {
  return Math.floor(1 + ((Math.min(Math.max(shares, 2), 262_144) - 2) * 9999) / 262_142);
}

/** A weight (v2) as the CPU shares it stands for. */
export function sharesOfWeight(weight: number): number {
  return Math.ceil(2 + ((Math.min(Math.max(weight, 1), 10_000) - 1) * 262_142) / 9999);
}
