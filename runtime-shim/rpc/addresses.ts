// Addresses as callers write them.
import { isIP } from 'node:net';
import { WindlassError } from '../../lib/errors.ts';
import { canonicalAddress } from '../../lib/node-address.ts';

/** The address as the kernel spells it, for what stands there is compared with what was declared; other text as it is. */
export const toAddress = (ip: string): string => canonicalAddress(ip).replaceAll(/[[\]]/g, '');

/** The address of a published port, '' being every one. Throws Invalid naming `field` for what is no address of this host. */
export function toHostIp(ip: string, field: string): string {
  if (ip !== '' && (isIP(ip) === 0 || ip.includes('%')))
    throw new WindlassError('Invalid', `${field}: want an IP address of this host, not ${JSON.stringify(ip)}`);
  return toAddress(ip);
}
