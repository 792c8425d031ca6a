// CPU use from counters that only grow: two looks at them, and the time between. Pure.
import type { ContainerUsageReport, Usage, UsageReport } from '../../../crds/usage.ts';

/** A counter and when it was read. */
export interface Reading {
  readonly atMs: number;
  /** CPU time since the start. */
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

export interface ContainerReading extends Reading {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** When it was started: the counter was 0 then. */
  readonly startedAtMs: number;
}

export interface Sample {
  readonly atMs: number;
  readonly node: Reading;
  /** By the runtime's id, which a restart changes. */
  readonly containers: ReadonlyMap<string, ContainerReading>;
}

/** Shorter windows show the noise of the moment, longer ones the past. */
const MIN_WINDOW_MS = 10_000;
const MAX_WINDOW_MS = 60_000;
/** When there is nothing else to compare with. */
const SHORTEST_WINDOW_MS = 500;

/** The sample to measure from: the newest that is old enough; else the oldest there is. */
export function chooseBase(samples: readonly Sample[], now: number): Sample | undefined {
  const usable = samples.filter(({ atMs }) => now - atMs <= MAX_WINDOW_MS && now - atMs >= SHORTEST_WINDOW_MS);
  return usable.findLast(({ atMs }) => now - atMs >= MIN_WINDOW_MS) ?? usable[0];
}

/** The samples worth keeping: what is older than the one to measure from now will never be measured from. */
export function keepSamples(samples: readonly Sample[], now: number): Sample[] {
  const base = samples.findLastIndex(({ atMs }) => now - atMs >= MIN_WINDOW_MS);
  return samples.slice(Math.max(0, base)).filter(({ atMs }) => now - atMs <= MAX_WINDOW_MS);
}

/** What was used from `base` to `last`. A container that was started in between is measured from its start. */
export function reportUsage(base: Sample, last: Sample): UsageReport {
  const containers: ContainerUsageReport[] = [];
  for (const [id, reading] of last.containers) {
    const { namespace, name, uid, startedAtMs, memoryBytes } = reading;
    const from = base.containers.get(id) ?? { atMs: startedAtMs, cpuMs: 0, memoryBytes };
    if (reading.atMs > from.atMs) containers.push({ namespace, name, uid, ...usageBetween(from, reading) });
  }
  return { node: usageBetween(base.node, last.node), containers };
}

function usageBetween(from: Reading, to: Reading): Usage {
  const windowMs = Math.max(1, to.atMs - from.atMs);
  return {
    cpuCores: Math.max(0, to.cpuMs - from.cpuMs) / windowMs,
    memoryBytes: to.memoryBytes,
    atMs: to.atMs,
    windowMs,
  };
}

/** CPU time in use of all cores, and memory in use, from /proc/stat (ticks of 10 ms) and /proc/meminfo. */
export function parseNodeReading(stat: string, meminfo: string, atMs: number): Reading {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '')
    .split(' ')
    .map(Number);
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? 0);
  return {
    atMs,
    cpuMs: (user + nice + system + irq + softirq + steal) * 10,
    memoryBytes: (kibibytes('MemTotal') - kibibytes('MemAvailable')) * 1024,
  };
}
