// Writable layers that outlive their containers. A container names its layer by a key, and finds there what the one
// before it wrote; whoever chose the key says when the layer goes. At most one live container has a key.
import { WindlassError } from '../../lib/errors.ts';
import type { ContainerRecord } from '../store/records.ts';
import { rootfsKeyOf } from './annotations.ts';
import type { Shim } from './deps.ts';

/** Container ids are hexadecimal: no id is a kept layer's name. */
const PREFIX = 'kept.';

/** The name of a container's root file system with the image service. */
export function rootFilesystemId({ id, config }: Pick<ContainerRecord, 'id' | 'config'>): string {
  const key = rootfsKeyOf(config.annotations);
  return key === undefined ? id : PREFIX + key;
}

/** Throws Conflict when a live container has the layer that `record` asks for. */
export function requireFreeRootFilesystem(shim: Shim, record: ContainerRecord): void {
  const holder = holdersOf(shim, rootFilesystemId(record)).find(
    ({ id, phase }) => id !== record.id && phase !== 'exited' && phase !== 'removing',
  );
  if (holder) throw new WindlassError('Conflict', `the root file system is in use by container ${holder.id}`);
}

/** What becomes of the root file system when its container goes: deleted, or only unmounted if it has a key. */
export async function releaseRootFilesystem(shim: Shim, record: ContainerRecord): Promise<void> {
  const rootId = rootFilesystemId(record);
  if (rootId === record.id) return shim.images.removeRootFilesystem(rootId);
  // The next container of the key may have it already.
  if (holdersOf(shim, rootId).some(({ id, phase }) => id !== record.id && phase !== 'removing')) return;
  // What an evicted container wrote was too much.
  return record.eviction === undefined
    ? shim.images.unmountRootFilesystem(rootId)
    : shim.images.removeRootFilesystem(rootId);
}

/** Deletes the layer of an evicted container that has ended; what cannot be deleted now goes with the container. */
export async function dropEvictedLayer(shim: Shim, record: ContainerRecord): Promise<void> {
  try {
    await shim.images.removeRootFilesystem(rootFilesystemId(record));
  } catch (error) {
    shim.log.warn({ container: record.id, err: error }, 'failed to delete the layer of an evicted container');
  }
}

/** Keys that have a layer. */
export const listRootFilesystems = (shim: Shim): string[] =>
  shim.images
    .listRootFilesystems()
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length));

/** Deletes the layer of a key; absent = success. */
export async function removeRootFilesystem(shim: Shim, key: string): Promise<void> {
  const rootId = PREFIX + key;
  const holder = holdersOf(shim, rootId)[0];
  if (holder) throw new WindlassError('Conflict', `root file system ${key} is in use by container ${holder.id}`);
  await shim.images.removeRootFilesystem(rootId);
}

/** Deletes layers without a key whose container is gone: records do not outlive a reboot, layers do. */
export async function removeStrayRootFilesystems(shim: Shim): Promise<void> {
  for (const name of shim.images.listRootFilesystems()) {
    if (name.startsWith(PREFIX) || shim.store.containers.get(name)) continue;
    shim.log.info({ container: name }, 'removing the writable layer of a container that is gone');
    await shim.images.removeRootFilesystem(name);
  }
}

const holdersOf = (shim: Shim, rootId: string): ContainerRecord[] =>
  shim.store.containers.list().filter((record) => rootFilesystemId(record) === rootId);
