// volumeTemplates: a Volume for each slot, which stays when the slot's Container is replaced and when the Service goes.
import { volumeKind, type Volume } from '../../crds/volume.ts';
import type { ContainerSpec } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import type { ApiClient } from '../../client/client.ts';
import { isAlreadyExists } from '../../lib/errors.ts';
import { SERVICE_LABEL, SLOT_LABEL } from './slots.ts';

/** `data-db-1` for the template `data` of Service `db`. */
export const slotVolumeName = (template: string, service: Service, slot: string): string =>
  `${template}-${service.metadata.name}-${slot}`;

/** `spec` with the slot's own Volumes in the mounts that name a template. */
export function withSlotVolumes(spec: ContainerSpec, service: Service, slot: string): ContainerSpec {
  const names = new Set(service.spec.volumeTemplates?.map(({ name }) => name));
  if (names.size === 0 || !spec.mounts) return spec;
  const mounts = spec.mounts.map((mount) =>
    mount.volume !== undefined && names.has(mount.volume)
      ? { ...mount, volume: slotVolumeName(mount.volume, service, slot) }
      : mount,
  );
  return { ...spec, mounts };
}

/** The Volumes of a slot. Nobody owns them: their bytes are worth more than the Service. */
export function slotVolumes(service: Service, slot: string): Pick<Volume, 'metadata' | 'spec'>[] {
  return (service.spec.volumeTemplates ?? []).map(({ name, spec }) => ({
    metadata: {
      name: slotVolumeName(name, service, slot),
      namespace: service.metadata.namespace ?? '',
      labels: { [SERVICE_LABEL]: service.metadata.name, [SLOT_LABEL]: slot },
    },
    spec,
  }));
}

/** Creates those Volumes of the slot that are not there yet. */
export async function ensureSlotVolumes(
  client: ApiClient,
  service: Service,
  slot: string,
  signal: AbortSignal,
): Promise<void> {
  const volumes = client.kind(volumeKind);
  for (const volume of slotVolumes(service, slot)) {
    try {
      await volumes.create(volume, signal);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
}
