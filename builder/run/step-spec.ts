// The specification of a step's container: what docker build gives a RUN instruction. Pure but for looking at the root.
import { existsSync } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';
import { planCapabilities } from '../../runtime-shim/oci-runtime/capabilities.ts';
import type { OciMount, OciSpec } from '../../runtime-shim/oci-runtime/oci-spec.ts';
import type { SeccompProfiles } from '../../runtime-shim/oci-runtime/seccomp-choice.ts';
import { kernelMounts } from '../../runtime-shim/oci-runtime/spec-mounts.ts';
import { DEFAULT_PATH, planCwd } from '../../runtime-shim/oci-runtime/spec-process.ts';
import { MASKED_PATHS, READONLY_PATHS } from '../../runtime-shim/oci-runtime/spec.ts';
import { resolveUser } from '../../runtime-shim/oci-runtime/user.ts';
import type { RunOperation } from '../operations.ts';
import type { StepContext } from './runner.ts';

/** A constant: what a command makes of its host's name must not differ from build to build. */
export const STEP_HOSTNAME = 'build';
/** As many as a container has that says nothing. */
const DEFAULT_PIDS = 4096;

export interface StepSpecInput {
  readonly operation: RunOperation;
  readonly context: Pick<StepContext, 'root' | 'resources'>;
  readonly cgroupsPath: string;
  /** Of the network that it joins; undefined = one of its own with nothing but loopback. */
  readonly netnsPath: string | undefined;
  /** Files of /etc and what the instruction mounts. */
  readonly mounts: readonly OciMount[];
  /** NAME=value besides those of the operation. */
  readonly env: readonly string[];
  readonly own: ReadonlySet<string>;
  readonly profiles: SeccompProfiles;
}

/** Throws Invalid for an unknown user, a working directory that cannot be one, and a command that is none. */
export function planStepSpec(input: StepSpecInput): OciSpec {
  const { operation, context, cgroupsPath, netnsPath, own, profiles } = input;
  if (operation.args.length === 0) throw new WindlassError('Invalid', 'RUN has no command');
  if (operation.args.some((arg) => arg.includes('\0')))
    throw new WindlassError('Invalid', 'an argument of the command holds a NUL');
  const variable = operation.env.find((entry) => entry.includes('\0'))?.split('=')[0];
  if (variable !== undefined) throw new WindlassError('Invalid', `variable ${JSON.stringify(variable)} holds a NUL`);
  const user = resolveUser(context.root, { user: operation.user, supplementalGroups: [], policy: 'Merge' });
  const { granted } = planCapabilities({ privileged: false, add: [], drop: [] }, own);
  return {
    ociVersion: '1.0.2',
    hostname: STEP_HOSTNAME,
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
      args: operation.args,
      env: planStepEnv([...operation.proxyEnv, ...operation.env, ...input.env], user.home),
      cwd: planCwd(context.root, operation.cwd),
      capabilities: { bounding: granted, effective: granted, permitted: granted, inheritable: [], ambient: [] },
      // sudo and the like work in a Dockerfile.
      noNewPrivileges: false,
    },
    root: { path: context.root, readonly: false },
    mounts: [...kernelMounts('ro'), SHM, ...input.mounts],
    linux: {
      namespaces: [
        ...['mount', 'cgroup', 'pid', 'ipc', 'uts'].map((type) => ({ type })),
        netnsPath === undefined ? { type: 'network' } : { type: 'network', path: netnsPath },
      ],
      devices: [],
      cgroupsPath,
      resources: planResources(context.resources ?? {}),
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      seccomp: profiles.forCapabilities(granted),
    },
  };
}

const SHM: OciMount = {
  destination: '/dev/shm',
  type: 'tmpfs',
  source: 'shm',
  options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
};

/** The later one of a name wins; PATH and HOME are there in any case. */
function planStepEnv(entries: readonly string[], home: string): string[] {
  const env = new Map([['PATH', DEFAULT_PATH]]);
  for (const entry of entries) {
    const index = entry.indexOf('=');
    if (index > 0) env.set(entry.slice(0, index), entry.slice(index + 1));
  }
  if (!env.has('HOME')) env.set('HOME', home);
  return [...env].map(([name, value]) => `${name}=${value}`);
}

function planResources({
  memoryBytes,
  cpuShares,
  cpuQuotaUs,
  cpuPeriodUs,
  pids,
}: NonNullable<StepContext['resources']>): object {
  const hasSwapLimit = existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes');
  return {
    devices: [{ allow: false, access: 'rwm' }],
    memory: memoryBytes === undefined ? {} : { limit: memoryBytes, ...(hasSwapLimit ? { swap: memoryBytes } : {}) },
    cpu: {
      ...(cpuShares === undefined ? {} : { shares: cpuShares }),
      ...(cpuQuotaUs === undefined ? {} : { quota: cpuQuotaUs }),
      ...(cpuPeriodUs === undefined ? {} : { period: cpuPeriodUs }),
    },
    pids: { limit: pids ?? DEFAULT_PIDS },
  };
}
