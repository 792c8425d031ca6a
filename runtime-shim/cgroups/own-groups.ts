// Control groups (v1) that the shim makes and limits itself. A runtime that moves a process into them has the kernel wait
// for a grace period, 10 ms on an idle machine, once per start and once per exec; a thread that enters by itself, by
// writing 0 to `tasks`, does not (cgroup_procs_write_start() in the kernel).
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupMounts, Cgroups } from './cgroups.ts';
import type { WritableResources } from './resources.ts';

/** A rule as the OCI runtime specification has it; an absent number means all. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly access?: string;
}

/** What of `linux.resources` can be set here. */
export interface OwnLimits {
  readonly devices: readonly DeviceRule[];
  readonly resources: WritableResources;
}

/** What every container may use, whatever its own rules: the list of runc and crun. */
const DEFAULT_RULES: readonly DeviceRule[] = [
  ...['c', 'b'].map((type) => ({ allow: true, type, access: 'm' })),
  ...[3, 5, 7, 8, 9].map((minor) => ({ allow: true, type: 'c', major: 1, minor, access: 'rwm' })),
  ...[0, 1, 2].map((minor) => ({ allow: true, type: 'c', major: 5, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** Files through which a thread enters the group in every hierarchy. */
export function entrances(mounts: CgroupMounts, path: string): string[] {
  return [...new Set(mounts.v1.values())].map((mount) => `${mount}${path}/tasks`);
}

/** The limits of a specification's `linux.resources`; undefined when there is one that only a runtime knows to set. */
export function ownLimits(resources: object): OwnLimits | undefined {
  const { devices = [], memory = {}, cpu = {}, pids = {}, ...others } = resources as Record<string, unknown>;
  const { limit, swap, ...otherMemory } = memory as Record<string, number>;
  const { shares, quota, period, cpus, mems, ...otherCpu } = cpu as Record<string, number & string>;
  const { limit: pidsLimit, ...otherPids } = pids as Record<string, number>;
  if ([others, otherMemory, otherCpu, otherPids].some((rest) => Object.keys(rest).length > 0)) return undefined;
  return {
    devices: devices as readonly DeviceRule[],
    resources: {
      ...(limit === undefined ? {} : { memoryBytes: limit }),
      ...(swap === undefined ? {} : { memorySwapBytes: swap }),
      ...(shares === undefined ? {} : { cpuShares: shares }),
      ...(quota === undefined ? {} : { cpuQuotaUs: quota }),
      ...(period === undefined ? {} : { cpuPeriodUs: period }),
      ...(cpus === undefined ? {} : { cpusetCpus: cpus }),
      ...(mems === undefined ? {} : { cpusetMems: mems }),
      ...(pidsLimit === undefined ? {} : { pids: pidsLimit }),
    },
  };
}

/** Sets the limits of a group that a container is in, before its program runs. */
export function setOwnLimits(cgroups: Cgroups, mounts: CgroupMounts, path: string, limits: OwnLimits): void {
  cgroups.update(path, limits.resources);
  const folder = join(mounts.v1.get('devices') ?? '/nonexistent', path);
  let open: { readonly allow: boolean; readonly fd: number } | undefined;
  try {
    // One rule a write, in order; a file stays open for as long as the next rule goes there too.
    for (const { allow, text } of [...limits.devices.map(toWrite), ...DEFAULT_WRITES]) {
      if (open?.allow !== allow) {
        if (open) closeSync(open.fd);
        open = undefined;
        open = { allow, fd: openSync(join(folder, allow ? 'devices.allow' : 'devices.deny'), 'w') };
      }
      writeSync(open.fd, text);
    }
  } finally {
    if (open) closeSync(open.fd);
  }
}

const toWrite = (rule: DeviceRule): { readonly allow: boolean; readonly text: string } => ({
  allow: rule.allow,
  text: formatRule(rule),
});

const DEFAULT_WRITES = DEFAULT_RULES.map(toWrite);

/** `c 1:3 rwm`; a rule for all devices is the word `a`. */
export function formatRule({ type, major, minor, access = 'rwm' }: DeviceRule): string {
  if (type === undefined || type === 'a') return 'a';
  return `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`;
}
