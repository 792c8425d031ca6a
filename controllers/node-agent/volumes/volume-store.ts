// The Volumes of this node as folders: made at first use, filled from the image, deleted with their object.
import { mkdir, stat } from 'node:fs/promises';
import type { KindClient } from '../../../client/client.ts';
import type { Container } from '../../../crds/container.ts';
import type { Volume } from '../../../crds/volume.ts';
import { isAlreadyExists } from '../../../lib/errors.ts';
import { NODE_DATA_FINALIZER } from '../../runtime/object-key.ts';
import type { Lister } from '../cluster.ts';
import { askPatiently } from '../server-away.ts';
import type { Need } from '../container/prepared.ts';
import {
  ANONYMOUS_LABEL,
  anonymousVolumeName,
  CONTAINER_UID_LABEL,
  volumeDirectory,
  type VolumeRoots,
} from './volume-paths.ts';

export interface VolumeStoreDeps {
  readonly lister: Lister<Volume>;
  readonly client: Pick<KindClient<Volume>, 'get' | 'create' | 'mergePatch'>;
  readonly roots: VolumeRoots;
  readonly nodeName: string;
}

export type VolumeNeed = Need<{ readonly volume: Volume; readonly directory: string }>;

const waiting = (reason: string, message: string): VolumeNeed => ({ state: 'Waiting', reason, message });

/** The folder of the named Volume, made if it is not there yet. */
export async function openVolume(
  deps: VolumeStoreDeps,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<VolumeNeed> {
  const volume = deps.lister.get(namespace, name);
  if (!volume) return waiting('VolumeNotFound', `volume "${name}" not found`);
  return openFound(deps, volume, signal);
}

async function openFound(deps: VolumeStoreDeps, volume: Volume, signal: AbortSignal): Promise<VolumeNeed> {
  const { name, namespace } = volume.metadata;
  if (volume.metadata.deletionTimestamp !== undefined) {
    return waiting('VolumeDeleting', `volume "${name}" is being deleted`);
  }
  const home = volume.spec.nodeName ?? volume.status?.nodeName;
  if (home !== undefined && home !== deps.nodeName) {
    return waiting('VolumeOnOtherNode', `volume "${name}" is on node ${home}`);
  }
  for (const field of ['options', 'capacity'] as const) {
    if (volume.spec[field] !== undefined) {
      return waiting('VolumeNotSupported', `volume "${name}": spec.${field} is not supported by this version`);
    }
  }
  const directory = volumeDirectory(deps.roots, volume);
  if (volume.spec.hostPath !== undefined) {
    if (await exists(directory)) return { state: 'Ready', volume, directory };
    return hostPathMissing(`volume "${name}": ${directory} does not exist on node ${deps.nodeName}`);
  }
  // First the finalizer, then the bytes: nothing may be left behind when the object goes.
  if (!volume.metadata.finalizers?.includes(NODE_DATA_FINALIZER)) {
    const metadata = {
      finalizers: [...(volume.metadata.finalizers ?? []), NODE_DATA_FINALIZER],
      resourceVersion: volume.metadata.resourceVersion,
    };
    await askPatiently(signal, (limited) => deps.client.mergePatch(name, namespace, { metadata }, {}, limited));
  }
  await mkdir(deps.roots.volumes, { recursive: true, mode: 0o711 });
  await mkdir(directory, { recursive: true, mode: 0o755 });
  return { state: 'Ready', volume, directory };
}

/** The Volume behind an anonymous mount, created when it is not there yet. */
export async function openAnonymousVolume(
  deps: VolumeStoreDeps,
  container: Container,
  mountPath: string,
  signal: AbortSignal,
): Promise<VolumeNeed> {
  const { name: containerName, namespace = '', uid = '' } = container.metadata;
  const name = anonymousVolumeName(containerName, uid, mountPath);
  const known = deps.lister.get(namespace, name);
  if (known) return openFound(deps, known, signal);
  const wanted: Parameters<VolumeStoreDeps['client']['create']>[0] = {
    metadata: {
      name,
      namespace,
      labels: { [ANONYMOUS_LABEL]: 'true', [CONTAINER_UID_LABEL]: uid },
      annotations: { 'windlass.dev/mounted-by': `${containerName}:${mountPath}` },
      finalizers: [NODE_DATA_FINALIZER],
    },
    spec: { driver: 'local', nodeName: deps.nodeName, reclaimPolicy: 'Delete' },
  };
  let volume: Volume | undefined;
  try {
    volume = await askPatiently(signal, (limited) => deps.client.create(wanted, limited));
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    volume = await askPatiently(signal, (limited) => deps.client.get(name, namespace, limited));
  }
  if (!volume) return waiting('VolumeDeleting', `anonymous volume "${name}" is being deleted`);
  return openFound(deps, volume, signal);
}

/** A folder of the host that is missing: nothing tells when somebody makes it. */
export const hostPathMissing = (message: string): Need<never> => ({
  state: 'Waiting',
  reason: 'HostPathNotFound',
  message,
  retryAtMs: Date.now() + 2000,
});

/** Whether there is anything at `path`. */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
