// Whether this machine's kernel can encrypt between nodes.
import { openGenetlink } from '../../runtime-shim/host/genetlink.ts';
import { findWireguard } from '../../runtime-shim/host/wireguard.ts';

/** For `skip` of a test that needs it: false, or why it is skipped. */
export function lacksWireguard(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  using generic = openGenetlink();
  return findWireguard(generic) === undefined && 'needs a kernel with WireGuard (CONFIG_WIREGUARD)';
}

/** For `skip` of what a kernel without it has to do. */
export function hasWireguard(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  return lacksWireguard() === false && 'needs a kernel without WireGuard';
}
