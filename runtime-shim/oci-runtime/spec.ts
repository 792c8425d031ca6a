// Builds the OCI configuration of a container from what CRI and the image say. Pure but for looking at the root file
// system, which only the image has written so far.
import { readFileSync } from 'node:fs';
import type { ContainerConfig, LinuxContainerSecurityContext } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { RunConfig } from '../../oci/manifest.ts';
import type { WritableResources } from '../cgroups/resources.ts';
import { planCapabilities } from './capabilities.ts';
import type { OciSpec, UserMapping } from './oci-spec.ts';
import { lookOnce } from './rooted-path.ts';
import { planSeccomp, type SeccompProfiles } from './seccomp-choice.ts';
import { planDevices } from './spec-devices.ts';
import { checkRoot, planMounts, type TmpfsRequest } from './spec-mounts.ts';
import { planArgs, planCwd, planEnv, planRlimits, type Ulimit } from './spec-process.ts';
import { toHostId } from './user-namespace.ts';
import { resolveUser, type ResolvedUser } from './user.ts';

/** Of every container that is not privileged. */
export const MASKED_PATHS: readonly string[] = [
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
];
export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

export interface SpecInput {
  readonly config: ContainerConfig;
  readonly image: RunConfig;
  /** Root file system on the host. */
  readonly root: string;
  readonly cgroupsPath: string;
  readonly hostname: string;
  /** type (`network`, `ipc`, `uts`, `pid`, `user`) -> path to join; null = a new one; absent = the host's. */
  readonly namespaces: Readonly<Record<string, string | null>>;
  /** How the ids of the user namespace in `namespaces` lie on the host; undefined = the host's own. */
  readonly userMapping?: UserMapping | undefined;
  /** Where a mount that is id-mapped lies on the host, by its index. */
  readonly mappedMounts?: ReadonlyMap<number, string> | undefined;
  /** Whether a mount can be read-only with all that is mounted in it. */
  readonly canMountRecursiveReadOnly: boolean;
  /** container path -> host file. */
  readonly files: Readonly<Record<string, string>>;
  readonly shm: string;
  readonly imageViews: ReadonlyMap<number, string>;
  /** Checked already, see sysctls.ts. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly resources: WritableResources;
  /** Whether the kernel counts swap: without it, a swap limit fails the start. */
  readonly hasSwapLimit: boolean;
  readonly tmpfs: readonly TmpfsRequest[];
  readonly ulimits: readonly Ulimit[];
  /** Further groups by name or number. */
  readonly groups: readonly string[];
  /** Host path of an init program to run as process 1. */
  readonly init: string | undefined;
  /** Capabilities of this process. */
  readonly own: ReadonlySet<string>;
  readonly profiles?: SeccompProfiles;
}

export interface PlannedSpec {
  readonly spec: OciSpec;
  readonly user: ResolvedUser;
  /** What had to be clamped, for the log. */
  readonly warnings: readonly string[];
}

/** The configuration of the container. Throws Invalid, Forbidden or NotFound, naming what is wrong. */
export function buildSpec(input: SpecInput): PlannedSpec {
  const { config, image, root, own } = input;
  const security = config.linux?.securityContext ?? undefined;
  const privileged = security?.privileged ?? false;
  if (security) refuseUnsupported(config, security);
  // No program of the container runs yet.
  const look = lookOnce();
  checkRoot(root, look);
  const warnings: string[] = [];
  const user = resolveUser(root, userRequest(security, image, input.groups), look);
  if (input.userMapping) requireMapped(user, input.userMapping);
  const { granted, missing } = planCapabilities(
    {
      privileged,
      add: security?.capabilities?.addCapabilities ?? [],
      drop: security?.capabilities?.dropCapabilities ?? [],
    },
    own,
  );
  if (missing.length > 0) warnings.push(`capabilities the runtime does not have: ${missing.join(', ')}`);
  const { rlimits, clamped } = planRlimits(input.ulimits, { mayRaise: own.has('CAP_SYS_RESOURCE') });
  if (clamped.length > 0) warnings.push(`ulimits above the runtime's own hard limit: ${clamped.join(', ')}`);
  const imageProcess = { entrypoint: image.Entrypoint ?? [], cmd: image.Cmd ?? [], env: image.Env ?? [] };
  const args = planArgs(config, imageProcess);
  const { mounts, rootfsPropagation } = planMounts({
    root,
    look,
    privileged,
    readonlyRoot: security?.readonlyRootfs ?? false,
    mounts: config.mounts,
    tmpfs: input.tmpfs,
    imageViews: input.imageViews,
    mappedMounts: input.mappedMounts ?? new Map(),
    canMountRecursiveReadOnly: input.canMountRecursiveReadOnly,
    isHostNetworkMapped: input.userMapping !== undefined && input.namespaces['network'] === undefined,
    files: input.files,
    shm: input.shm,
    hostIpc: input.namespaces['ipc'] === undefined,
    init: input.init,
  });
  const { devices, rules } = planDevices(config.devices, privileged);
  const seccomp = privileged ? undefined : planSeccomp(security, granted, input.profiles);
  const oomScoreAdj = planOomScore(config.linux?.resources?.oomScoreAdj ?? 0, own, warnings);
  const ambient = privileged ? [] : (security?.capabilities?.addAmbientCapabilities ?? []).map(withPrefix);
  const spec: OciSpec = {
    ociVersion: '1.0.2',
    process: {
      terminal: config.tty,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
      args: input.init === undefined ? args : ['/dev/init', '--', ...args],
      env: planEnv(config, imageProcess, { hostname: input.hostname, home: user.home }),
      cwd: planCwd(root, config.workingDir || image.WorkingDir || '/'),
      capabilities: {
        bounding: granted,
        effective: granted,
        permitted: granted,
        // Empty, or a program with inheritable file capabilities would regain what execve took.
        inheritable: ambient.filter((name) => granted.includes(name)),
        ambient: ambient.filter((name) => granted.includes(name)),
      },
      ...(rlimits.length > 0 ? { rlimits } : {}),
      noNewPrivileges: security?.noNewPrivs ?? false,
      ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    },
    root: { path: root, readonly: security?.readonlyRootfs ?? false },
    mounts,
    linux: {
      namespaces: [
        { type: 'mount' },
        { type: 'cgroup' },
        ...Object.entries(input.namespaces).map(([type, path]) => (path === null ? { type } : { type, path })),
      ],
      ...(input.userMapping ? { uidMappings: input.userMapping.uids, gidMappings: input.userMapping.gids } : {}),
      devices,
      cgroupsPath: input.cgroupsPath,
      resources: planResources(input, rules),
      sysctl: input.sysctls,
      maskedPaths: privileged ? [] : [...new Set([...MASKED_PATHS, ...(security?.maskedPaths ?? [])])],
      readonlyPaths: privileged ? [] : [...new Set([...READONLY_PATHS, ...(security?.readonlyPaths ?? [])])],
      ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  };
  return { spec, user, warnings };
}

const withPrefix = (name: string): string => (name.startsWith('CAP_') ? name : `CAP_${name}`);

function refuseUnsupported(config: ContainerConfig, security: LinuxContainerSecurityContext): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Unimplemented', `${what} is not supported by this runtime`);
  };
  const { selinuxOptions: selinux, apparmor, apparmorProfile } = security;
  if (selinux && [selinux.user, selinux.role, selinux.type, selinux.level].some((text) => text !== '')) {
    refuse('security_context.selinux_options');
  }
  const isAppArmorNamed = apparmorProfile !== '' && !['runtime/default', 'unconfined'].includes(apparmorProfile);
  if (apparmor?.profileType === 'Localhost' || isAppArmorNamed) refuse('an AppArmor profile');
  if (config.CDIDevices.length > 0) refuse('a CDI device');
}

/** A process whose ids the user namespace does not know could not be started. */
function requireMapped({ uid, gid, groups }: ResolvedUser, { uids, gids }: UserMapping): void {
  const isMapped = (id: number, mappings: UserMapping['uids']): boolean =>
    mappings.some((mapping) => toHostId(id, mapping) !== undefined);
  if (!isMapped(uid, uids)) throw new WindlassError('Invalid', `user id ${uid} is not mapped in the user namespace`);
  const group = [gid, ...groups].find((id) => !isMapped(id, gids));
  if (group !== undefined) {
    throw new WindlassError('Invalid', `group id ${group} is not mapped in the user namespace`);
  }
}

function userRequest(
  security: LinuxContainerSecurityContext | undefined,
  image: RunConfig,
  groups: readonly string[],
): Parameters<typeof resolveUser>[1] {
  const hasUser = security?.runAsUser || (security?.runAsUsername ?? '') !== '';
  if (security?.runAsGroup && !hasUser) {
    throw new WindlassError('Invalid', 'security_context.run_as_group needs run_as_user or run_as_username');
  }
  return {
    user: security?.runAsUser ? String(security.runAsUser.value) : security?.runAsUsername || image.User || '',
    group: security?.runAsGroup?.value,
    supplementalGroups: [...(security?.supplementalGroups ?? []), ...groups],
    policy: security?.supplementalGroupsPolicy ?? 'Merge',
  };
}

/** Without CAP_SYS_RESOURCE the score cannot go below the daemon's own: asking would fail the start. */
function planOomScore(wanted: number, own: ReadonlySet<string>, warnings: string[]): number | undefined {
  const current = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
  if (wanted >= current || own.has('CAP_SYS_RESOURCE')) return wanted === current ? undefined : wanted;
  warnings.push(`oom_score_adj ${wanted} is below the runtime's own ${current}`);
  return undefined;
}

function planResources({ resources, hasSwapLimit }: SpecInput, devices: readonly object[]): object {
  const { hugepages = [] } = resources;
  return {
    devices,
    memory: {
      ...(resources.memoryBytes === undefined ? {} : { limit: resources.memoryBytes }),
      ...(resources.memoryBytes === undefined || !hasSwapLimit
        ? {}
        : { swap: resources.memorySwapBytes ?? resources.memoryBytes }),
    },
    cpu: {
      ...(resources.cpuShares === undefined ? {} : { shares: resources.cpuShares }),
      ...(resources.cpuQuotaUs === undefined ? {} : { quota: resources.cpuQuotaUs }),
      ...(resources.cpuPeriodUs === undefined ? {} : { period: resources.cpuPeriodUs }),
      ...(resources.cpusetCpus === undefined ? {} : { cpus: resources.cpusetCpus }),
      ...(resources.cpusetMems === undefined ? {} : { mems: resources.cpusetMems }),
    },
    ...(resources.pids === undefined ? {} : { pids: { limit: resources.pids } }),
    ...(hugepages.length > 0 ? { hugepageLimits: hugepages } : {}),
    ...(resources.unified === undefined ? {} : { unified: resources.unified }),
  };
}
