// Bits of packet and connection marks that mean something to the instance's tables and routing rules. The lower 16 are
// left to others (Kubernetes' proxy has 0xc000).
import { WindlassError } from '../../lib/errors.ts';
import { parseCidr, parseIp } from './ipam.ts';

/** Of a connection: the node that it came from over the ingress network, and by which its answers leave. */
export const PEER = { mask: '0x0fff0000', rest: '0xf000ffff', shift: 16, max: 0xfff } as const;

// Marks a translated packet that leaves by the bridge it came from: the answer must come back here, not go straight to
// the client. Known in `forward` only: with br_netfilter, postrouting of a bridged packet has no input interface.
export const BACK_TO_SENDER = '0x10000000';

/** Of a connection: its endpoint sees this node as the client. */
export const MASQUERADED = '0x20000000';

/** The mark of a peer's connections. */
export const peerMark = (number: number): number => number << PEER.shift;

/**
 * The number of a node: what is left of its address without the network's part, so that it is the same after a restart,
 * when connections still carry it. Undefined for an address that is elsewhere, or beyond the bits there are.
 */
export function peerNumber(cidr: string, ip: string): number | undefined {
  const { base, last } = parseCidr(cidr);
  const address = parseIp(ip);
  const number = address - base;
  return address > base && address <= last && number <= PEER.max ? number : undefined;
}

/** Throws Invalid naming the first address that has no number. */
export function requirePeerNumbers(cidr: string, ips: readonly string[]): void {
  const stranger = ips.find((ip) => peerNumber(cidr, ip) === undefined);
  if (stranger !== undefined)
    throw new WindlassError('Invalid', `${stranger} is not among the first ${PEER.max} addresses of ${cidr}`);
}
