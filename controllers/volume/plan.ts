// What a Volume's status should say, and who holds it when it is to be deleted.
import type { Container } from '../../crds/container.ts';
import type { Volume, VolumeStatus } from '../../crds/volume.ts';
import { setConditions, type NewCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';

export interface VolumeObserved {
  readonly volume: Volume;
  /** Containers that mount it, also stopped ones. */
  readonly users: readonly Container[];
  readonly hasNode: (name: string) => boolean;
  readonly now: number;
}

/** The names of the Volumes a Container mounts: those it asks for, and anonymous ones that its node made for it. */
export const volumeNamesOf = ({ spec, status }: Pick<Container, 'spec' | 'status'>): string[] => {
  const asked = (spec.mounts ?? []).map(({ volume }) => volume);
  const mounted = (status?.mounts ?? []).map(({ type, name }) =>
    type === 'Volume' || type === 'Anonymous' ? name : undefined,
  );
  return [...new Set([...asked, ...mounted].filter((name) => name !== undefined))];
};

/** The name of what a Volume asks for that is not built yet. */
export function findUnsupportedField({ spec }: Volume): string | undefined {
  if (spec.driver !== 'local') return `spec.driver: ${String(spec.driver)}`;
  if (spec.options) return 'spec.options';
  if (spec.capacity !== undefined) return 'spec.capacity';
  return undefined;
}

/** The fields of the status that the volume controller owns; mountpoint and usedBytes are the node agent's. */
export function planVolumeStatus({ volume, users, hasNode, now }: VolumeObserved): VolumeStatus {
  const generation = volume.metadata.generation;
  const names = users.map(({ metadata }) => metadata.name).toSorted();
  const nodeName = homeOf(volume, users);
  const phase = nodeName === undefined ? 'Pending' : hasNode(nodeName) ? 'Bound' : 'Lost';
  const conditions: NewCondition[] = [
    readiness(volume, phase, nodeName),
    names.length > 0
      ? { type: 'InUse', status: 'True', reason: 'Mounted', message: `mounted by ${listNames(names)}` }
      : { type: 'InUse', status: 'False', reason: 'NotMounted', message: 'no container mounts it' },
    names.length > 0
      ? { type: 'Dangling', status: 'False', reason: 'Mounted', message: `mounted by ${listNames(names)}` }
      : { type: 'Dangling', status: 'True', reason: 'NotMounted', message: 'no container mounts it' },
  ];
  if (isDeleting(volume) && names.length > 0) {
    conditions.push({
      type: 'Ready',
      status: 'False',
      reason: 'DeletionBlocked',
      message: `will be deleted when ${listNames(names)} no longer mount(s) it`,
    });
  }
  return {
    observedGeneration: generation,
    phase,
    ...(nodeName === undefined ? {} : { nodeName }),
    inUseBy: names,
    conditions: setConditions(volume.status?.conditions, conditions, { now, generation }),
  };
}

// The first user decides and stays: the bytes are there, whoever comes later. The name breaks a tie between two that
// were bound in one instant, so that a stale cache decides the same.
function homeOf(volume: Volume, users: readonly Container[]): string | undefined {
  const fixed = volume.status?.nodeName ?? volume.spec.nodeName;
  if (fixed !== undefined) return fixed;
  const bound = users
    .filter(({ spec }) => spec.nodeName)
    .toSorted(
      (a, b) =>
        (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
        a.metadata.name.localeCompare(b.metadata.name),
    );
  return bound[0]?.spec.nodeName;
}

function readiness(volume: Volume, phase: string, nodeName: string | undefined): NewCondition {
  const unsupported = findUnsupportedField(volume);
  if (unsupported) {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'NotSupported',
      message: `${unsupported} is not supported by this version`,
    };
  }
  if (phase === 'Lost') {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'NodeLost',
      message: `its node ${nodeName ?? ''} is no longer in the cluster`,
    };
  }
  return phase === 'Bound'
    ? { type: 'Ready', status: 'True', reason: 'Bound', message: `on node ${nodeName ?? ''}` }
    : {
        type: 'Ready',
        status: 'True',
        reason: 'WaitForFirstUse',
        message: 'is bound to the node of its first container',
      };
}

const MAX_NAMES = 5;

/** `container a, b and 3 more`. */
export function listNames(names: readonly string[]): string {
  const more = names.length - MAX_NAMES;
  return `container ${names.slice(0, MAX_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
