// Where the agent keeps what containers mount.
import { join } from 'node:path';
import type { Volume } from '../../../crds/volume.ts';
import { shortHash } from '../../../lib/instance.ts';

export interface VolumeRoots {
  /** Volumes' bytes: survives a reboot. */
  readonly volumes: string;
  /** ConfigMaps and Secrets as files: below the run folder, which is memory on usual hosts. */
  readonly projected: string;
}

export const ANONYMOUS_LABEL = 'windlass.dev/anonymous';
export const CONTAINER_UID_LABEL = 'windlass.dev/container-uid';

/** The folder on this node that holds a Volume's bytes. */
export function volumeDirectory(roots: VolumeRoots, volume: Volume): string {
  if (volume.spec.hostPath !== undefined) return volume.spec.hostPath;
  const { namespace = '', name, uid = '' } = volume.metadata;
  return join(roots.volumes, `${namespace}_${name}_${uid}`);
}

/** The folder of one projected mount of a Container. */
export function projectedDirectory(roots: VolumeRoots, containerUid: string, mountPath: string): string {
  return join(roots.projected, containerUid, shortHash(mountPath, 12));
}

/** Name of the Volume behind an anonymous mount: the same for the whole life of the Container. */
export function anonymousVolumeName(containerName: string, containerUid: string, mountPath: string): string {
  return `${containerName.slice(0, 40).replace(/[.-]+$/, '')}-${shortHash(`${containerUid} ${mountPath}`, 12)}`;
}
