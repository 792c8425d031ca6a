// Forwarding of IPv6 is a setting of the whole host, and turns it into a router: one that no longer listens to the routers
// that it may have its own addresses and default route from, unless told to.
import { readdirSync } from 'node:fs';
import { readSysctl, writeSysctl } from '../host/sysctl.ts';

const CONF = 'net/ipv6/conf';
/** accept_ra: also on a host that forwards. */
const [AS_A_HOST, ALSO_AS_A_ROUTER] = ['1', '2'];

/** Lets the host forward IPv6; links that listen to routers now go on doing so. */
export function forwardIpv6(): void {
  if (readSysctl(`${CONF}/all/forwarding`) === '1') return;
  for (const link of readdirSync(`/proc/sys/${CONF}`)) {
    if (['all', 'default', 'lo'].includes(link) || readSysctl(`${CONF}/${link}/disable_ipv6`) !== '0') continue;
    // One that forwards already does not listen. It may go in this moment.
    const listens = readSysctl(`${CONF}/${link}/forwarding`) === '0';
    if (listens && readSysctl(`${CONF}/${link}/accept_ra`) === AS_A_HOST)
      writeSysctl(`${CONF}/${link}/accept_ra`, ALSO_AS_A_ROUTER, { optional: true });
  }
  writeSysctl(`${CONF}/all/forwarding`, '1');
}
