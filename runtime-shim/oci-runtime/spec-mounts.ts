// The mounts of a container: the kernel's file systems, the sandbox's files, then what was asked for.
import { realpathSync, statSync } from 'node:fs';
import type { Mount } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { readMounts, type MountEntry } from '../host/mount.ts';
import type { OciMount } from './oci-spec.ts';
import { isWithin, resolveInRoot, type Look } from './rooted-path.ts';

export interface TmpfsRequest {
  readonly path: string;
  /** 0 = the kernel's default. */
  readonly sizeBytes: number;
  readonly mode: number;
}

export interface MountRequest {
  /** Root file system on the host. */
  readonly root: string;
  readonly look: Look;
  readonly privileged: boolean;
  readonly readonlyRoot: boolean;
  readonly mounts: readonly Mount[];
  readonly tmpfs: readonly TmpfsRequest[];
  /** Host folder of each image mount, by its index in `mounts`. */
  readonly imageViews: ReadonlyMap<number, string>;
  /** Where the mounts that are id-mapped lie on the host, by index in `mounts`. */
  readonly mappedMounts: ReadonlyMap<number, string>;
  readonly canMountRecursiveReadOnly: boolean;
  /** A user namespace in the host's network: it may not mount a sysfs of its own. */
  readonly isHostNetworkMapped: boolean;
  /** container path -> host file: hosts, resolv.conf, hostname. */
  readonly files: Readonly<Record<string, string>>;
  /** Host folder bound on /dev/shm. */
  readonly shm: string;
  readonly hostIpc: boolean;
  /** Host path of the init program, bound on /dev/init. */
  readonly init: string | undefined;
}

const PROPAGATION: Readonly<Record<Mount['propagation'], string>> = {
  PROPAGATION_PRIVATE: 'rprivate',
  PROPAGATION_HOST_TO_CONTAINER: 'rslave',
  PROPAGATION_BIDIRECTIONAL: 'rshared',
};

const SAFE = ['nosuid', 'noexec', 'nodev'];

/** A sysfs shows a network, and only who owns that may mount it: who does not gets the host's to look at. */
export const HOST_SYSFS: OciMount = {
  destination: '/sys',
  type: 'bind',
  source: '/sys',
  options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'rro'],
};

/** Every mount in the order of mounting, and the propagation the root needs for them. Invalid names the mount. */
export function planMounts(request: MountRequest): { mounts: OciMount[]; rootfsPropagation: string | undefined } {
  const user = request.mounts.map((mount, index) => userMount(request, mount, index));
  const tmpfs = request.tmpfs.map((mount) => tmpfsMount(request.root, mount));
  const wanted = [...user, ...tmpfs];
  const taken = new Set<string>();
  for (const { destination } of wanted) {
    if (taken.has(destination)) throw new WindlassError('Invalid', `two mounts at ${destination}`);
    taken.add(destination);
  }
  const files = Object.entries(request.files).flatMap(([path, source]) => {
    const destination = resolveInRoot(request.root, path, request.look).path;
    // A volume over /etc, or the caller's own /etc/hosts, wins over ours.
    if ([...taken].some((other) => other !== '/' && isWithin(destination, other))) return [];
    const mode = request.readonlyRoot ? 'ro' : 'rw';
    return [{ destination, type: 'bind', source, options: ['bind', 'rprivate', mode] }];
  });
  const system = systemMounts(request).filter(({ destination }) => !taken.has(destination));
  const used = new Set(request.mounts.map(({ propagation }) => propagation));
  return {
    // Parents before children, whatever order they were given in.
    mounts: [...system, ...files, ...wanted.toSorted((a, b) => depth(a.destination) - depth(b.destination))],
    rootfsPropagation: used.has('PROPAGATION_BIDIRECTIONAL')
      ? 'rshared'
      : used.has('PROPAGATION_HOST_TO_CONTAINER')
        ? 'rslave'
        : undefined,
  };
}

function systemMounts(request: MountRequest): OciMount[] {
  return [
    ...kernelMounts(request.privileged ? 'rw' : 'ro', request),
    { destination: '/dev/shm', type: 'bind', source: request.shm, options: ['bind', 'rprivate', ...SAFE, 'rw'] },
    ...(request.init === undefined
      ? []
      : [{ destination: '/dev/init', type: 'bind', source: request.init, options: ['bind', 'rprivate', 'ro'] }]),
  ];
}

/** The file systems of the kernel's that every container has, but for /dev/shm; `access` is that to /sys. */
export function kernelMounts(
  access: 'ro' | 'rw',
  { hostIpc = false, isHostNetworkMapped = false }: Partial<Pick<MountRequest, 'hostIpc' | 'isHostNetworkMapped'>> = {},
): OciMount[] {
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: SAFE },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    isHostNetworkMapped
      ? HOST_SYSFS
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...SAFE, access] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...SAFE, 'relatime', access] },
    ...(hostIpc
      ? [
          {
            destination: '/dev/mqueue',
            type: 'bind',
            source: '/dev/mqueue',
            options: ['bind', 'rprivate', 'nosuid', 'noexec', 'nodev'],
          },
        ]
      : [{ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: SAFE }]),
  ].filter((mount) => mount.source !== '/dev/mqueue' || statOf('/dev/mqueue') !== undefined);
}

function userMount(request: MountRequest, mount: Mount, index: number): OciMount {
  const label = `mounts[${index}] (${mount.containerPath})`;
  const destination = destinationOf(request.root, mount.containerPath, label, mount.hostPath);
  refuseUnsupported(mount, label, request.canMountRecursiveReadOnly);
  const placed = request.imageViews.get(index) ?? request.mappedMounts.get(index);
  const source = placed ?? hostSource(mount.hostPath, label);
  if (!mount.image) requireShared(mount, source, label);
  const readOnly = mount.recursiveReadOnly ? 'rro' : mount.readonly || request.imageViews.has(index) ? 'ro' : 'rw';
  return {
    destination,
    type: 'bind',
    source,
    options: ['rbind', PROPAGATION[mount.propagation], readOnly],
  };
}

function refuseUnsupported(mount: Mount, label: string, canMountRecursiveReadOnly: boolean): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `${label}: ${what} is not supported by this runtime`);
  };
  if (mount.recursiveReadOnly) {
    if (!canMountRecursiveReadOnly) refuse('recursive_read_only');
    // CRI's rule: what would appear in the mount later, from either side, would not be read-only.
    if (!mount.readonly || mount.propagation !== 'PROPAGATION_PRIVATE') {
      throw new WindlassError('Invalid', `${label}: recursive_read_only needs readonly and private propagation`);
    }
  }
  if (mount.mountOptions.length > 0) refuse('mount_options');
  if (mount.image && mount.hostPath !== '') {
    throw new WindlassError('Invalid', `${label}: image and host_path exclude one another`);
  }
  if (!mount.image && mount.imageSubPath !== '') {
    throw new WindlassError('Invalid', `${label}: image_sub_path needs an image`);
  }
  if (mount.image && !mount.readonly) throw new WindlassError('Invalid', `${label}: an image mount must be readonly`);
}

function tmpfsMount(root: string, { path, sizeBytes, mode }: TmpfsRequest): OciMount {
  const destination = destinationOf(root, path, `tmpfs ${path}`);
  return {
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: [
      'nosuid',
      'nodev',
      'noexec',
      `mode=${mode.toString(8)}`,
      ...(sizeBytes > 0 ? [`size=${Math.ceil(sizeBytes)}`] : []),
    ],
  };
}

/** What the runtime itself makes, opens or binds in /dev. */
const OWN_DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx', 'pts', 'fd', 'init'].concat(
  ['stdin', 'stdout', 'stderr'],
);

/**
 * Where a mount lands, links followed inside the root, so that the runtime has none left to follow. Nothing may cover
 * /proc: a forged /proc/self would turn the runtime's own writes (LSM labels, sysctls) against the host. Nor what the
 * runtime works with in /dev and /sys, which stays a file system of the kernel's: only the host's own may be put there.
 */
export function destinationOf(root: string, path: string, label: string, hostPath = ''): string {
  if (!path.startsWith('/')) throw new WindlassError('Invalid', `${label}: the container path must be absolute`);
  const { path: destination } = resolveInRoot(root, path);
  if (destination === '/') throw new WindlassError('Invalid', `${label}: nothing can be mounted over the root`);
  if (isWithin(destination, '/proc')) throw new WindlassError('Invalid', `${label}: nothing can be mounted in /proc`);
  if (['/dev', '/sys', '/sys/fs', '/sys/fs/cgroup'].includes(destination) && hostPath !== destination) {
    throw new WindlassError('Invalid', `${label}: only the host's own ${destination} can be mounted there`);
  }
  if (OWN_DEVICES.some((name) => isWithin(destination, `/dev/${name}`))) {
    throw new WindlassError('Invalid', `${label}: ${destination} is the runtime's own`);
  }
  return destination;
}

/** Asked to propagate, a mount that the host keeps private would silently not do it. */
function requireShared({ propagation, hostPath }: Mount, source: string, label: string): void {
  if (propagation === 'PROPAGATION_PRIVATE') return;
  // The innermost one, and of those at one place the last.
  const around = readMounts()
    .filter(({ target }) => isWithin(source, target))
    .reduce<MountEntry | undefined>(
      (best, entry) => ((best?.target.length ?? 0) > entry.target.length ? best : entry),
      undefined,
    );
  const [wanted, kinds] =
    propagation === 'PROPAGATION_BIDIRECTIONAL'
      ? (['a shared mount', ['shared:']] as const)
      : (['a shared or slave mount', ['shared:', 'master:']] as const);
  if (around && kinds.some((kind) => around.propagation.some((tag) => tag.startsWith(kind)))) return;
  throw new WindlassError('Invalid', `${label}: host path ${hostPath} is not on ${wanted} (but on ${around?.target})`);
}

function hostSource(path: string, label: string): string {
  if (!path.startsWith('/')) throw new WindlassError('Invalid', `${label}: the host path must be absolute`);
  try {
    return realpathSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new WindlassError('NotFound', `${label}: host path ${path} does not exist`, { cause: error });
    }
    throw error;
  }
}

function statOf(path: string): unknown {
  return statSync(path, { throwIfNoEntry: false });
}

const depth = (path: string): number => path.split('/').length;

/**
 * Refuses a root whose /proc, /sys or /dev (or what the runtime itself opens in them) is a link: the runtime would
 * follow it while it still has the host's rights.
 */
export function checkRoot(root: string, look?: Look): void {
  const names = [
    '/proc',
    '/sys',
    '/dev',
    '/dev/null',
    '/dev/console',
    '/dev/pts',
    '/dev/pts/0',
    '/dev/ptmx',
    '/dev/shm',
  ];
  for (const name of names) {
    const { path, stat } = resolveInRoot(root, name, look);
    const isTop = name.lastIndexOf('/') === 0;
    if (path !== name || (isTop && stat !== undefined && !stat.isDirectory())) {
      // Images do ship /dev/ptmx -> pts/ptmx: a link that stays in /dev lands on the fresh tmpfs.
      if (!isTop && isWithin(path, '/dev')) continue;
      throw new WindlassError('Invalid', `the image's ${name} is a link or not a directory: refused`);
    }
  }
}
