// Which sandboxes can be one that was made ahead. Pure.
import type { PodSandboxConfig } from '../../cri/messages.ts';
import { attachmentsOf, DEFAULT_SHM_BYTES, shmSizeOf } from '../rpc/annotations.ts';

/** The one network of a sandbox that is like every other on it; undefined for one that needs something of its own. */
export function pooledNetworkOf(config: PodSandboxConfig): string | undefined {
  const options = config.linux?.securityContext?.namespaceOptions;
  const isOrdinary =
    (options?.network ?? 'POD') === 'POD' &&
    (options?.ipc ?? 'POD') === 'POD' &&
    (options?.usernsOptions?.mode ?? 'NODE') === 'NODE' &&
    shmSizeOf(config.annotations) === DEFAULT_SHM_BYTES;
  const [attachment, ...others] = attachmentsOf(config.annotations);
  if (!isOrdinary || !attachment || others.length > 0) return undefined;
  const { ipv4Address, ipv6Address, macAddress, network } = attachment;
  return ipv4Address || ipv6Address || macAddress ? undefined : network;
}
