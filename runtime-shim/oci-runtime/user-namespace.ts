// The user namespace of a sandbox, as CRI asks for it. Pure.
import type { IdMapping, NamespaceOption } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { OciIdMapping, UserMapping } from './oci-spec.ts';

const FIELD = 'namespace_options.userns_options';
/** The last id the kernel knows; the one after it means "none". */
const MAX_ID = 2 ** 32 - 2;

/**
 * The mapping of the sandbox; undefined = the host's user namespace. As in CRI's and the kubelet's contract: mode POD
 * with exactly one range for users and one for groups, that begin at id 0 of the container. Invalid otherwise.
 */
export function planUserNamespace(options: NamespaceOption | undefined): UserMapping | undefined {
  const userns = options?.usernsOptions;
  if (!userns || userns.mode === 'NODE') return undefined;
  if (userns.mode !== 'POD') throw new WindlassError('Invalid', `${FIELD}.mode: ${userns.mode} is not POD or NODE`);
  for (const [kind, mode] of [
    ['pid', options.pid],
    ['ipc', options.ipc],
  ]) {
    if (mode === 'NODE') throw new WindlassError('Invalid', `${FIELD}: not together with the host's ${kind} namespace`);
  }
  for (const [kind, mode] of [
    ['network', options.network],
    ['ipc', options.ipc],
  ]) {
    if (mode === 'TARGET') {
      throw new WindlassError('Invalid', `${FIELD}: not together with the ${kind} namespace of another sandbox`);
    }
  }
  return { uids: [planMapping('uids', userns.uids)], gids: [planMapping('gids', userns.gids)] };
}

function planMapping(field: string, mappings: readonly IdMapping[]): OciIdMapping {
  const [mapping] = mappings;
  if (!mapping || mappings.length > 1) {
    throw new WindlassError('Invalid', `${FIELD}.${field}: exactly one mapping is supported, not ${mappings.length}`);
  }
  const { containerId: containerID, hostId: hostID, length: size } = mapping;
  if (containerID !== 0)
    throw new WindlassError('Invalid', `${FIELD}.${field}: the mapping must begin at container id 0`);
  if (hostID === 0) throw new WindlassError('Invalid', `${FIELD}.${field}: the host's own root cannot be mapped`);
  if (size < 1 || hostID + size - 1 > MAX_ID) {
    throw new WindlassError('Invalid', `${FIELD}.${field}: ${size} ids from ${hostID} on is not a range of ids`);
  }
  return { containerID, hostID, size };
}

/** The id on the host; undefined when it is not mapped. */
export function toHostId(id: number, mapping: OciIdMapping): number | undefined {
  return id >= 0 && id < mapping.size ? mapping.hostID + id : undefined;
}

/** The lines of a uid_map or gid_map file. */
export const mapText = (mappings: readonly OciIdMapping[]): string =>
  mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');

/** True when CRI's mapping (of a mount) says the same as the sandbox's. */
export function isSameMapping(mappings: readonly IdMapping[], own: readonly OciIdMapping[]): boolean {
  return (
    mappings.length === own.length &&
    own.every(({ containerID, hostID, size }, index) => {
      const other = mappings[index];
      return other?.containerId === containerID && other.hostId === hostID && other.length === size;
    })
  );
}
