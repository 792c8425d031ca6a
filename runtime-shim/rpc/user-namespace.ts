// What a sandbox with a user namespace of its own, and the containers in it, have on the host beyond the usual:
//   <state>/u/<container>/rootfs   the container's root file system
//   <state>/u/<container>/m<index> a mount that is id-mapped
// The folder is the one place from which the container's root user, whom the host knows under another id, reaches them.
import {
  chownSync,
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { ContainerConfig, Mount, NamespaceOption } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { findProgram } from '../oci-runtime/runtime.ts';
import type { RuntimeRights } from '../oci-runtime/try-rights.ts';
import { isSameMapping, mapText } from '../oci-runtime/user-namespace.ts';
import type { RootOwner } from '../snapshots/container-store.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import { noFollowOf } from './annotations.ts';
import type { Shim } from './deps.ts';
import { O_PATH, openWithoutLinks } from './link-free-sources.ts';

const CREATE_MS = 10_000;

const folderOf = (shim: Shim, containerId: string): string => join(paths.shimState(shim.instance), 'u', containerId);

/** Throws Unimplemented where the trial at the start has shown that they do not work. */
export function requireUserNamespaces(rights: RuntimeRights, options: NamespaceOption | undefined): void {
  if (options?.network === 'NODE' ? rights.userNamespacesHostNetwork : rights.userNamespaces) return;
  throw new WindlassError('Unimplemented', 'user namespaces do not work on this host: the log of the start says why');
}

/** Makes the sandbox's user namespace with those that are to belong to it. */
export async function makeUserNamespace(
  shim: Shim,
  record: SandboxRecord,
  pins: { readonly net?: string; readonly ipc?: string; readonly uts?: string },
): Promise<void> {
  const { user } = record.namespaces;
  if (!user) return;
  await shim.host.createUserNamespace({
    pins: { user: user.path, ...pins },
    uidMap: mapText(user.mapping.uids),
    gidMap: mapText(user.mapping.gids),
    unsharePath: findProgram('unshare') ?? '/usr/bin/unshare',
    signal: AbortSignal.timeout(CREATE_MS),
  });
}

/** Who root of the sandbox is on the host; undefined = root. */
export function rootOwnerOf({ namespaces: { user } }: SandboxRecord): RootOwner | undefined {
  if (!user) return undefined;
  const { path: userNamespace, mapping } = user;
  return { userNamespace, uid: mapping.uids[0]?.hostID ?? 0, gid: mapping.gids[0]?.hostID ?? 0 };
}

/** Where the runtime finds the root file system that is mounted at `root`. */
export function placeRoot(shim: Shim, sandbox: SandboxRecord, containerId: string, root: string): string {
  const owner = rootOwnerOf(sandbox);
  if (!owner) return root;
  const target = join(makeFolder(shim, containerId, owner), 'rootfs');
  mkdirSync(target, { mode: 0o700 });
  shim.host.bindMount(root, target);
  return target;
}

function makeFolder(shim: Shim, containerId: string, owner: RootOwner): string {
  const folder = folderOf(shim, containerId);
  mkdirSync(dirname(folder), { recursive: true, mode: 0o711 });
  // Others must not come near a setuid program of the container.
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chownSync(folder, owner.uid, owner.gid);
  return folder;
}

export interface MappedMount {
  /** On the host, without links. */
  readonly source: string;
  readonly target: string;
}

/** Makes the id-mapped mounts that were asked for; by index in the configuration. */
export function mapMounts(
  shim: Shim,
  sandbox: SandboxRecord,
  containerId: string,
  config: ContainerConfig,
): Map<number, MappedMount> {
  const mapped = new Map<number, MappedMount>();
  const linkFree = new Set(noFollowOf(config.annotations));
  for (const [index, mount] of config.mounts.entries()) {
    if (mount.uidMappings.length === 0 && mount.gidMappings.length === 0) continue;
    const label = `mounts[${index}] (${mount.containerPath})`;
    const { user } = sandbox.namespaces;
    const owner = rootOwnerOf(sandbox);
    const isSame =
      user &&
      isSameMapping(mount.uidMappings, user.mapping.uids) &&
      isSameMapping(mount.gidMappings, user.mapping.gids);
    if (!isSame || !owner) throw new WindlassError('Invalid', `${label}: an id mapping must be that of the sandbox`);
    if (mount.image) continue;
    const target = join(makeFolder(shim, containerId, owner), `m${index}`);
    const source = hostSource(mount, label);
    // By a handle: what was looked at is what is mounted, whatever happens to the path meanwhile.
    const fd = linkFree.has(mount.containerPath) ? openWithoutLinks(mount.hostPath, label) : openSync(source, O_PATH);
    try {
      if (fstatSync(fd).isDirectory()) mkdirSync(target, { mode: 0o700 });
      else writeFileSync(target, '');
      shim.host.mountIdMapped(`/proc/self/fd/${fd}`, target, user.path);
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') throw error;
      const why = `${label}: the file system of ${mount.hostPath}, or one mounted in it, cannot be id-mapped`;
      throw new WindlassError('Invalid', why, { cause: error });
    } finally {
      closeSync(fd);
    }
    mapped.set(index, { source, target });
  }
  return mapped;
}

function hostSource({ hostPath }: Mount, label: string): string {
  try {
    return realpathSync(hostPath);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    throw new WindlassError('NotFound', `${label}: host path ${hostPath} does not exist`, { cause: error });
  }
}

/** Removes what placeRoot() and mapMounts() made; nothing there = success. */
export function removeMapped(shim: Shim, { id }: Pick<ContainerRecord, 'id'>): void {
  const folder = folderOf(shim, id);
  if (!lstatSync(folder, { throwIfNoEntry: false })) return;
  for (const name of readdirSync(folder)) {
    const target = join(folder, name);
    const stat = lstatSync(target, { throwIfNoEntry: false });
    if (!stat) continue;
    shim.host.unmount(target);
    // Never by a recursive removal: what is still mounted here is the user's.
    if (stat.isDirectory()) rmdirSync(target);
    else unlinkSync(target);
  }
  rmdirSync(folder);
}
