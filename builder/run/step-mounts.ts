// The mounts of a step, from those of its instruction: what each one shows is put together on the host first (a handle of
// the source that no link leads elsewhere, an overlay whose upper folder is thrown away, a file of a secret), and the
// specification names that.
import { chmodSync, chownSync, closeSync, fstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { bindMount, mountOverlay, mountTmpfs } from '../../runtime-shim/host/mount.ts';
import { mountOpened, openInRoot } from '../../runtime-shim/host/open-in-root.ts';
import type { OciMount } from '../../runtime-shim/oci-runtime/oci-spec.ts';
import { isWithin, resolveInRoot } from '../../runtime-shim/oci-runtime/rooted-path.ts';
import { destinationOf } from '../../runtime-shim/oci-runtime/spec-mounts.ts';
import type { FileSource, RunMount, RunOperation } from '../operations.ts';
import type { CacheLease, CacheMount, CacheMounts } from './cache-mounts.ts';
import type { MountPoints, PointKind } from './mount-points.ts';
import type { StepContext } from './runner.ts';

export interface StepMountsParts {
  readonly caches: CacheMounts;
  /** Of the step, in memory. */
  readonly folder: string;
  /** Of the step, on disk; made when it is needed. */
  readonly scratch: string;
  readonly points: MountPoints;
}

export interface StepMounts {
  /** In the order of mounting. */
  readonly mounts: readonly OciMount[];
  /** NAME=value of secrets. */
  readonly env: readonly string[];
}

/** What is mounted at a place of the root. */
interface Part {
  readonly destination: string;
  readonly kind: PointKind;
  readonly label: string;
  readonly mount: OciMount;
  /** The place stays when the step is over. */
  readonly isKept?: boolean;
}

/**
 * Prepares the mounts of a step. What is made is in the two folders, but for caches, which `leases` is given; the caller
 * undoes both. Invalid or NotFound, naming the mount.
 */
export async function prepareMounts(
  { caches, folder, scratch, points }: StepMountsParts,
  operation: RunOperation,
  context: StepContext,
  leases: Pick<DisposableStack, 'use'>,
): Promise<StepMounts> {
  let made = 0;
  const nextName = (): string => `m${(made += 1)}`;
  const parts: Part[] = [];
  const env: string[] = [];

  const cacheFolders = await acquireCaches();
  for (const [index, mount] of operation.mounts.entries()) {
    const label = `mount ${index + 1} (${mount.type})`;
    if (mount.type === 'bind') parts.push(await bindPart(mount, label));
    else if (mount.type === 'cache') parts.push(cachePart(mount, label));
    else if (mount.type === 'tmpfs') parts.push(tmpfsPart(mount, label));
    else addSecret(mount, label);
  }
  if (operation.script) parts.push(scriptPart(operation.script));
  parts.push(...volumeParts(parts));
  // Parents before children; of two at one place the later one, which is on top, would hide the other.
  const ordered = parts.toSorted((a, b) => depthOf(a.destination) - depthOf(b.destination));
  for (const [index, part] of ordered.entries()) placePart(part, ordered.slice(0, index));
  return { mounts: ordered.map(({ mount }) => mount), env };

  /** Below another mount the runtime makes the place, in what is mounted there. */
  function placePart({ destination, kind, label, isKept = false }: Part, earlier: readonly Part[]): void {
    if (earlier.some((other) => other.destination === destination)) {
      throw new WindlassError('Invalid', `${label}: another mount of the instruction is at ${destination}`);
    }
    if (isWithin(destination, '/dev') || earlier.some((other) => isWithin(destination, other.destination))) return;
    points.ensure(destination, kind, label, isKept);
  }

  function target(path: string, label: string): string {
    return destinationOf(context.root, path, label);
  }

  /**
   * What a step writes in a volume is as lost as in Docker, where each step has an anonymous volume of its own; that the
   * folder is there is not. A mount of the instruction wins over a volume at its place, and nothing is kept of the kernel's
   * file systems anyway.
   */
  function volumeParts(others: readonly Part[]): Part[] {
    const places = operation.volumes.map((path) => resolveInRoot(context.root, path).path);
    const isFree = (path: string): boolean =>
      !['/proc', '/sys', '/dev'].some((kernels) => isWithin(path, kernels)) &&
      !others.some(({ destination }) => destination === path);
    return [...new Set(places)].filter(isFree).map(volumePart);
  }

  function volumePart(path: string): Part {
    const label = `volume ${path}`;
    const destination = target(path, label);
    const { stat, hostPath } = resolveInRoot(context.root, destination);
    if (stat && !stat.isDirectory()) throw new WindlassError('Invalid', `${label}: it is a file in this stage`);
    const source = stat ? mountThrowAway(hostPath) : makeEmpty();
    return { ...folderPart(destination, label, source, ['rbind', 'rw', 'nodev']), isKept: true };
  }

  async function bindPart(mount: Extract<RunMount, { type: 'bind' }>, label: string): Promise<Part> {
    const destination = target(mount.target, label);
    const fd = await openSource(mount.from, mount.source, label);
    try {
      const stat = fstatSync(fd);
      if (stat.isFile() && mount.isWritable) {
        return filePart(destination, label, copyOpened(fd, stat), ['bind', 'rw', 'nodev']);
      }
      if (stat.isFile()) return filePart(destination, label, mountHandle(fd, 'file'), ['bind', 'ro', 'nodev']);
      if (!stat.isDirectory()) {
        throw new WindlassError('Invalid', `${label}: source ${mount.source} is neither a file nor a directory`);
      }
      const source = mount.isWritable ? mountThrowAway(`/proc/self/fd/${fd}`) : mountHandle(fd, 'directory');
      return folderPart(destination, label, source, ['rbind', mount.isWritable ? 'rw' : 'ro', 'nodev']);
    } finally {
      closeSync(fd);
    }
  }

  function cachePart(mount: CacheMount, label: string): Part {
    const destination = target(mount.target, label);
    const source = bindHere(cacheFolders.get(mount.id) ?? '');
    return folderPart(destination, label, source, ['bind', mount.isReadOnly ? 'ro' : 'rw', 'nosuid', 'nodev']);
  }

  /** As in Docker, a directory that is there lends its mode; mounted here, so that it does with every runtime. */
  function tmpfsPart(mount: Extract<RunMount, { type: 'tmpfs' }>, label: string): Part {
    const destination = target(mount.target, label);
    const { stat } = resolveInRoot(context.root, destination);
    const mode = stat?.isDirectory() ? stat.mode & 0o7777 : 0o1777;
    const size = mount.sizeBytes === undefined ? '' : `,size=${Math.ceil(mount.sizeBytes)}`;
    const place = join(folder, nextName());
    mkdirSync(place, { mode: 0o700 });
    mountTmpfs(place, `mode=${mode.toString(8)}${size}`);
    return folderPart(destination, label, place, ['bind', 'rw', 'nosuid', 'nodev']);
  }

  function addSecret(mount: Extract<RunMount, { type: 'secret' }>, index: string): void {
    const label = `${index.slice(0, -1)} ${mount.id})`;
    const bytes = context.secrets.get(mount.id);
    if (bytes === undefined) {
      if (!mount.isRequired) return;
      throw new WindlassError('NotFound', `${label}: the build was given no secret ${JSON.stringify(mount.id)}`, {
        details: { missingSecret: mount.id },
      });
    }
    if (mount.env !== undefined) {
      if (bytes.includes(0)) {
        throw new WindlassError('Invalid', `${label}: it holds a NUL and cannot be variable ${mount.env}`);
      }
      env.push(`${mount.env}=${bytes.toString('utf8')}`);
    }
    if (mount.target === undefined) return;
    const destination = target(mount.target, label);
    const file = join(folder, nextName());
    // Closed to others before it holds anything, and opened to its owner after.
    writeFileSync(file, bytes, { mode: 0o600, flag: 'wx' });
    chownSync(file, mount.uid, mount.gid);
    chmodSync(file, mount.mode);
    parts.push(filePart(destination, label, file, ['bind', 'ro', 'nosuid', 'nodev', 'noexec']));
  }

  function scriptPart({ name, content }: NonNullable<RunOperation['script']>): Part {
    const file = join(folder, nextName());
    writeFileSync(file, content, { mode: 0o755, flag: 'wx' });
    chmodSync(file, 0o755);
    return filePart(join('/dev/pipes', join('/', name)), `here-document ${name}`, file, ['bind', 'ro']);
  }

  /** By id, in the order of ids: two steps that want the same ones never wait for each other. */
  async function acquireCaches(): Promise<ReadonlyMap<string, string>> {
    const wanted = operation.mounts.filter((mount) => mount.type === 'cache');
    const folders = new Map<string, string>();
    const strictness = ['shared', 'private', 'locked'];
    for (const id of [...new Set(wanted.map((mount) => mount.id))].toSorted()) {
      const [mount] = wanted
        .filter((one) => one.id === id)
        .toSorted((a, b) => strictness.indexOf(b.sharing) - strictness.indexOf(a.sharing));
      if (!mount) continue;
      const lease: CacheLease = await caches.acquire(mount, initialOf(mount), context.signal);
      folders.set(id, leases.use(lease).path);
    }
    return folders;
  }

  function initialOf(mount: CacheMount): (() => Promise<string>) | undefined {
    const { from } = mount;
    if (from === undefined) return undefined;
    return async () => {
      const label = `cache ${mount.id}`;
      const fd = await openSource(from, mount.source, label);
      try {
        if (fstatSync(fd).isDirectory()) return mountHandle(fd, 'directory');
        throw new WindlassError('Invalid', `${label}: its source ${mount.source} is not a directory`);
      } finally {
        closeSync(fd);
      }
    };
  }

  async function openSource(from: FileSource, path: string, label: string): Promise<number> {
    const source = await context.sourceOf(from, path);
    try {
      return openInRoot(source.tree, source.path);
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw error;
      const place = from.kind === 'context' ? 'the build context' : describeSource(from);
      throw new WindlassError('NotFound', `${label}: ${path} is not in ${place}`, { cause: error });
    }
  }

  function mountHandle(fd: number, kind: PointKind): string {
    const place = join(folder, nextName());
    if (kind === 'file') writeFileSync(place, '', { mode: 0o600, flag: 'wx' });
    else mkdirSync(place, { mode: 0o700 });
    mountOpened(fd, place);
    return place;
  }

  /** A view of `lower` in which one can write. */
  function mountThrowAway(lower: string): string {
    const name = nextName();
    const place = join(folder, name);
    const [upperDir, workDir] = [join(scratch, name, 'upper'), join(scratch, name, 'work')];
    const { uid, gid, mode } = statSync(lower);
    for (const path of [upperDir, workDir]) mkdirSync(path, { recursive: true, mode: 0o700 });
    // The overlay's root has owner and mode of the upper folder.
    chownSync(upperDir, uid, gid);
    chmodSync(upperDir, mode & 0o7777);
    mkdirSync(place, { mode: 0o700 });
    mountOverlay({ lowerDirs: [lower], upperDir, workDir, target: place, options: ['volatile'] });
    return place;
  }

  function makeEmpty(): string {
    const path = join(scratch, nextName());
    mkdirSync(path, { recursive: true, mode: 0o755 });
    chmodSync(path, 0o755);
    return bindHere(path);
  }

  /** In the folder of the step everything is where the OCI runtime looks, whatever else of the host it is not shown. */
  function bindHere(path: string): string {
    const place = join(folder, nextName());
    mkdirSync(place, { mode: 0o700 });
    bindMount(path, place);
    return place;
  }

  function copyOpened(fd: number, { uid, gid, mode }: { uid: number; gid: number; mode: number }): string {
    mkdirSync(scratch, { recursive: true, mode: 0o700 });
    const file = join(scratch, nextName());
    writeFileSync(file, readFileSync(`/proc/self/fd/${fd}`), { mode: 0o600, flag: 'wx' });
    chownSync(file, uid, gid);
    chmodSync(file, mode & 0o7777);
    return file;
  }
}

function folderPart(destination: string, label: string, source: string, options: readonly string[]): Part {
  return { destination, kind: 'directory', label, mount: { destination, type: 'bind', source, options } };
}

function filePart(destination: string, label: string, source: string, options: readonly string[]): Part {
  return { destination, kind: 'file', label, mount: { destination, type: 'bind', source, options } };
}

const describeSource = (from: Exclude<FileSource, { kind: 'context' }>): string =>
  from.kind === 'stage' ? `stage ${from.index}` : `image ${from.reference}`;

const depthOf = (path: string): number => path.split('/').length;
