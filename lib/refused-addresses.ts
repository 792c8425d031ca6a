// Where a build may not reach. Whoever writes a Dockerfile is not always whoever owns the machine that builds it, and a
// server named in it is nobody's friend: neither gets at what answers only to this machine.
//
// Link-local addresses (where clouds hand out a machine's credentials) are refused always. Loopback and the unspecified
// address are refused unless the URL of the Dockerfile or of the context names them itself, not by a name that happens to resolve to them and
// not by a redirect from elsewhere.
import { lookup as resolveName, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { WindlassError } from './errors.ts';

const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4');
linkLocal.addSubnet('fe80::', 10, 'ipv6');
// The same service of one cloud over IPv6, and IPv4 through the well-known prefix of NAT64.
linkLocal.addAddress('fd00:ec2::254', 'ipv6');
linkLocal.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6');

const own = new BlockList();
own.addSubnet('127.0.0.0', 8, 'ipv4');
own.addSubnet('0.0.0.0', 8, 'ipv4');
own.addAddress('::1', 'ipv6');
own.addAddress('::', 'ipv6');

/** Whether a host of a URL names this machine by itself. */
export function namesThisMachine(hostname: string): boolean {
  const host = bare(hostname);
  return host === 'localhost' || host.endsWith('.localhost') || (isIP(host) !== 0 && isIn(own, host));
}

/** Throws Forbidden when `hostname` is an address that may not be reached; a name is left to guardedLookup(). */
export function checkHost(hostname: string, mayReachThisMachine: boolean): void {
  const host = bare(hostname);
  if (isIP(host) === 0) return;
  const problem = problemOf(host, mayReachThisMachine);
  if (problem) throw new WindlassError('Forbidden', `${host} is ${problem}`);
}

/** The resolver of a connection: fails when any address of the name may not be reached. */
export function guardedLookup(mayReachThisMachine: boolean): LookupFunction {
  return (hostname, options: LookupOptions, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '');
      for (const { address } of addresses) {
        const problem = problemOf(address, mayReachThisMachine);
        if (!problem) continue;
        return callback(new WindlassError('Forbidden', `${hostname} is at ${address}, which is ${problem}`), '');
      }
      if (options.all) return callback(null, addresses);
      const [first] = addresses;
      callback(null, first?.address ?? '', first?.family);
    });
  };
}

/**
 * Looks a name up for somebody else who connects to it, and gives its addresses; none when it cannot be found. Forbidden
 * when that would lead where builds may not reach.
 */
export async function findAddresses(hostname: string): Promise<string[]> {
  const mayReachThisMachine = namesThisMachine(hostname);
  checkHost(hostname, mayReachThisMachine);
  return new Promise((resolve, reject) => {
    guardedLookup(mayReachThisMachine)(bare(hostname), { all: true }, (error, addresses) => {
      if (error instanceof WindlassError) reject(error);
      else resolve(error ? [] : (addresses as LookupAddress[]).map(({ address }) => address));
    });
  });
}

function problemOf(address: string, mayReachThisMachine: boolean): string | undefined {
  if (isIn(linkLocal, address)) return 'a link-local address, which no build may reach';
  if (!mayReachThisMachine && isIn(own, address)) {
    return 'an address of this machine itself, which a build may reach only when its URL names it';
  }
  return undefined;
}

function isIn(list: BlockList, address: string): boolean {
  const [plain = ''] = address.split('%');
  return list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
}

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '').toLowerCase();
