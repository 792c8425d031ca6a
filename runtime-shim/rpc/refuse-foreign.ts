// Fields of CRI that have no meaning on this node: refused by name, so that nobody believes they took effect.
import type { ContainerConfig, PodSandboxConfig, SelinuxOption, WindowsPart } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';

export function refuseWindows(part: WindowsPart, field: string): void {
  if (part) throw new WindlassError('Unimplemented', `${field} is not supported: this runtime runs Linux containers`);
}

/** What a sandbox may not ask for. Its user, groups and root file system mean nothing: no program of an image runs in it. */
export function refuseForeignSandboxParts(config: PodSandboxConfig): void {
  refuseWindows(config.windows, 'config.windows');
  refuseSelinux(config.linux?.securityContext?.selinuxOptions, 'config.linux.security_context.selinux_options');
}

/** What a container may not ask for. */
export function refuseForeignContainerParts(config: ContainerConfig): void {
  refuseWindows(config.windows, 'config.windows');
  refuseSelinux(config.linux?.securityContext?.selinuxOptions, 'config.linux.security_context.selinux_options');
}

function refuseSelinux(options: SelinuxOption | null | undefined, field: string): void {
  if (options && [options.user, options.role, options.type, options.level].some((text) => text !== '')) {
    throw new WindlassError('Unimplemented', `${field}: SELinux is not supported by this runtime`);
  }
}
