// Everything that is measured of a control group, for pod metrics: read from its files, never through a program.
import { parseKeyed } from './files.ts';

/** Time in which some or all processes waited for a resource, and the recent shares in percent (PSI, kernel documentation). */
export interface Pressure {
  readonly some: PressureLine;
  readonly full: PressureLine;
}
export interface PressureLine {
  readonly totalUs: number;
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

export interface DeviceIo {
  readonly major: number;
  readonly minor: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface CgroupMeasures {
  readonly cpu: {
    readonly usageNs: number;
    readonly userNs: number;
    readonly systemNs: number;
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttledNs: number;
  };
  readonly memory: {
    readonly usageBytes: number;
    readonly maxUsageBytes: number;
    readonly workingSetBytes: number;
    readonly rssBytes: number;
    readonly cacheBytes: number;
    readonly mappedFileBytes: number;
    readonly kernelBytes: number;
    readonly swapBytes: number;
    /** How often a limit was hit. */
    readonly limitHits: number;
    readonly oomKills: number;
    /** In this group alone, and with those below it. */
    readonly pageFaults: readonly [own: number, hierarchy: number];
    readonly majorPageFaults: readonly [own: number, hierarchy: number];
  };
  readonly threads: number;
  /** `maxUsageBytes` is unknown on v2. */
  readonly hugepages: readonly {
    readonly pageSize: string;
    readonly usageBytes: number;
    readonly maxUsageBytes: number | undefined;
  }[];
  readonly io: readonly DeviceIo[];
  /** v2 only. */
  readonly pressure: { readonly cpu: Pressure; readonly memory: Pressure; readonly io: Pressure } | undefined;
  /** Undefined = no limit. */
  readonly limits: {
    readonly cpuPeriodUs: number;
    readonly cpuQuotaUs: number | undefined;
    readonly cpuShares: number;
    readonly memoryBytes: number | undefined;
    readonly memoryReservationBytes: number | undefined;
    readonly memorySwapBytes: number | undefined;
    readonly threads: number | undefined;
  };
}

/** Parses a `*.pressure` file; undefined when the kernel keeps none. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  if (text === undefined) return undefined;
  const line = (kind: string): PressureLine => {
    const found = text.split('\n').find((candidate) => candidate.startsWith(`${kind} `)) ?? '';
    const value = (key: string): number => Number(new RegExp(`\\b${key}=([\\d.]+)`).exec(found)?.[1] ?? 0);
    return { totalUs: value('total'), avg10: value('avg10'), avg60: value('avg60'), avg300: value('avg300') };
  };
  return { some: line('some'), full: line('full') };
}

/** Parses v2's `io.stat`: `MAJOR:MINOR rbytes=1 wbytes=2 rios=3 wios=4 ...`. */
export function parseIoStat(text: string | undefined): DeviceIo[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (!match) return [];
    const counts = parseKeyed((match[3] ?? '').replaceAll(' ', '\n').replaceAll('=', ' '));
    return [
      {
        major: Number(match[1]),
        minor: Number(match[2]),
        readBytes: counts.get('rbytes') ?? 0,
        writtenBytes: counts.get('wbytes') ?? 0,
        reads: counts.get('rios') ?? 0,
        writes: counts.get('wios') ?? 0,
      },
    ];
  });
}

/** Parses v1's pair of `blkio.throttle.*_recursive` files: `MAJOR:MINOR Read 1`. */
export function parseBlkio(bytes: string | undefined, operations: string | undefined): DeviceIo[] {
  const devices = new Map<string, Record<string, number>>();
  const read = (text: string | undefined, unit: string): void => {
    for (const line of (text ?? '').split('\n')) {
      const [device = '', operation = '', count] = line.split(' ');
      if (!/^\d+:\d+$/.test(device) || count === undefined) continue;
      const counts = devices.get(device) ?? {};
      counts[`${operation} ${unit}`] = Number(count);
      devices.set(device, counts);
    }
  };
  read(bytes, 'bytes');
  read(operations, 'operations');
  return [...devices].map(([device, counts]) => {
    const [major = 0, minor = 0] = device.split(':').map(Number);
    const count = (key: string): number => counts[key] ?? 0;
    return {
      major,
      minor,
      readBytes: count('Read bytes'),
      writtenBytes: count('Write bytes'),
      reads: count('Read operations'),
      writes: count('Write operations'),
    };
  });
}
