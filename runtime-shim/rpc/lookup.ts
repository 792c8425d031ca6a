// Finding what a request names.
import { WindlassError } from '../../lib/errors.ts';
import { requireField } from '../../cri/presence.ts';
import type { ImageRecord } from '../images/image-service.ts';
import type { SharedBlob } from '../images/shared-blob.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';

export function getSandbox(shim: Shim, id: string): SandboxRecord {
  const record = shim.store.sandboxes.find(requireField(id, 'pod_sandbox_id'));
  if (!record) throw new WindlassError('NotFound', `sandbox ${id} does not exist`);
  return record;
}

/** A container that is really there: one half made counts as absent. */
export function getContainer(shim: Shim, id: string): ContainerRecord {
  const record = shim.store.containers.find(requireField(id, 'container_id'));
  if (!record || record.phase === 'creating') throw new WindlassError('NotFound', `container ${id} does not exist`);
  return record;
}

/** The running container, or Conflict saying what state it is in. */
export function getRunningContainer(shim: Shim, id: string): ContainerRecord {
  const record = getContainer(shim, id);
  if (record.phase !== 'running') {
    throw new WindlassError('Conflict', `container ${record.id} is not running (${record.phase})`);
  }
  return record;
}

/** The container whose output somebody can follow: it has a monitor, whether its program runs yet or not. */
export function getAttachableContainer(shim: Shim, id: string): ContainerRecord {
  const record = getContainer(shim, id);
  if (record.phase !== 'running' && record.phase !== 'created') {
    throw new WindlassError('Conflict', `container ${record.id} is not running (${record.phase})`);
  }
  return record;
}

/** The sandbox, or Conflict when it is stopped or half made. */
export function getReadySandbox(shim: Shim, id: string): SandboxRecord {
  const record = getSandbox(shim, id);
  if (record.phase !== 'ready') throw new WindlassError('Conflict', `sandbox ${record.id} is not ready`);
  return record;
}

export function containersOf(shim: Shim, sandboxId: string): ContainerRecord[] {
  return shim.store.containers.list().filter((record) => record.sandboxId === sandboxId);
}

/** True when `labels` has every pair of `selector`. */
export function matchesLabels(
  labels: Readonly<Record<string, string>>,
  selector: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

/** Present image, or NotFound. */
export function findImage(shim: Shim, name: string): ImageRecord {
  const image = shim.images.find(requireField(name, 'image'));
  if (!image) throw new WindlassError('NotFound', `image ${name} is not present on this node`);
  return image;
}

/** A blob that others may have, or NotFound. */
export function findBlob(shim: Shim, digest: string): SharedBlob {
  const blob = shim.images.findBlob(requireField(digest, 'digest'));
  if (!blob) throw new WindlassError('NotFound', `no image of this node has blob ${digest}`);
  return blob;
}
