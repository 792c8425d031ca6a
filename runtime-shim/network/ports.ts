// Published host ports: who has which, checked before anything is made. Each port is also held by a bound socket
// (host/port-sockets.ts), so that the kernel itself refuses it to everyone else.
import { isIPv6 } from 'node:net';
import { WindlassError, errnoOf } from '../../lib/errors.ts';
import { holdPort, type HeldPort } from '../host/port-sockets.ts';
import type { PublishedPort } from './node-network.ts';
import { findPortHolder } from './port-holder.ts';

export interface PortTable {
  /**
   * Takes all ports for `holder` or none, choosing where hostPort is 0; one on every address is taken of IPv6 too if
   * `hasIpv6`. Throws AlreadyExists that names who has the port. Ports that `holder` has already are kept.
   */
  claim(holder: string, label: string, ports: readonly PublishedPort[], hasIpv6?: boolean): PublishedPort[];
  /** Takes the ports of a record again after a restart; what another process took meanwhile is returned. */
  reclaim(
    holder: string,
    label: string,
    ports: readonly PublishedPort[],
    hasIpv6?: boolean,
  ): { port: PublishedPort; by: string }[];
  /** Gives back every port of `holder` that is not in `keep`. */
  release(holder: string, keep?: readonly PublishedPort[]): void;
}

interface Claim {
  readonly holder: string;
  readonly label: string;
  readonly port: PublishedPort;
  readonly sockets: readonly HeldPort[];
  readonly hasIpv6: boolean;
}

export type HoldPort = typeof holdPort;

/** A table with no port taken. `hold` and `findHolder` are the host's; tests pass their own. */
export function createPortTable(hold: HoldPort = holdPort, findHolder = findPortHolder): PortTable {
  const claims = new Map<string, Claim>();

  const findConflict = (holder: string, port: PublishedPort): Claim | undefined =>
    claims
      .values()
      .find(
        (claim) =>
          claim.port.protocol === port.protocol &&
          claim.port.hostPort === port.hostPort &&
          (claim.holder !== holder || keyOf(claim.port) !== keyOf(port)) &&
          meets(claim.port.hostIp, port.hostIp),
      );

  /** Binds what is not bound yet; all or nothing. */
  const bind = ({ protocol, hostIp, hostPort }: PublishedPort, hasIpv6: boolean): HeldPort[] => {
    const sockets = hostIp === '' ? [hold(protocol, ANY_IPV4, hostPort)] : [hold(protocol, hostIp, hostPort)];
    try {
      if (hostIp === '' && hasIpv6) sockets.push(hold(protocol, ANY_IPV6, sockets[0]?.port ?? hostPort));
      return sockets;
    } catch (error) {
      for (const socket of sockets) socket.release();
      throw error;
    }
  };

  const take = (holder: string, label: string, wanted: PublishedPort, hasIpv6: boolean): PublishedPort => {
    const own = wanted.hostPort === 0 ? undefined : claims.get(keyOf(wanted));
    const isOwn = own?.holder === holder;
    if (isOwn && (own.hasIpv6 || !hasIpv6 || wanted.hostIp !== '')) {
      claims.set(keyOf(wanted), { ...own, port: wanted });
      return wanted;
    }
    const conflict = wanted.hostPort === 0 ? undefined : findConflict(holder, wanted);
    if (conflict) throw taken(wanted, conflict.label);
    try {
      const sockets = isOwn
        ? [...own.sockets, hold(wanted.protocol, ANY_IPV6, wanted.hostPort)]
        : bindChosen(() => bind(wanted, hasIpv6), wanted.hostPort === 0);
      const port = { ...wanted, hostPort: sockets[0]?.port ?? wanted.hostPort };
      claims.set(keyOf(port), { holder, label, port, sockets, hasIpv6 });
      return port;
    } catch (error) {
      if (errnoOf(error) !== 'EADDRINUSE') throw error;
      throw taken(wanted, findHolder(wanted.protocol, wanted.hostPort) ?? 'another program that has bound it', error);
    }
  };

  const release = (holder: string, keep: readonly PublishedPort[] = []): void => {
    const kept = new Set(keep.map(keyOf));
    for (const [key, claim] of claims) {
      if (claim.holder !== holder || kept.has(key)) continue;
      for (const socket of claim.sockets) socket.release();
      claims.delete(key);
    }
  };

  return {
    claim(holder, label, ports, hasIpv6 = false) {
      const before = [...claims.values()].filter((claim) => claim.holder === holder).map(({ port }) => port);
      try {
        return ports.map((port) => take(holder, label, port, hasIpv6));
      } catch (error) {
        release(holder, before);
        throw error;
      }
    },
    reclaim(holder, label, ports, hasIpv6 = false) {
      return ports.flatMap((port) => {
        try {
          take(holder, label, port, hasIpv6);
          return [];
        } catch (error) {
          // The container runs and keeps its port: a socket that took it while the shim was away never sees a packet.
          claims.set(keyOf(port), { holder, label, port, sockets: [], hasIpv6 });
          return [{ port, by: error instanceof Error ? error.message : String(error) }];
        }
      });
    },
    release,
  };
}

/** A port that the kernel chose for IPv4 may be somebody's for IPv6: then it chooses another one. */
const CHOICES = 20;

function bindChosen(bind: () => HeldPort[], isChosen: boolean): HeldPort[] {
  for (let tries = 1; ; tries += 1) {
    try {
      return bind();
    } catch (error) {
      if (!isChosen || tries === CHOICES || errnoOf(error) !== 'EADDRINUSE') throw error;
    }
  }
}

const [ANY_IPV4, ANY_IPV6] = ['0.0.0.0', '::'];

/** Whether a port on the one address and the same port on the other have an address in common. */
function meets(a: string, b: string): boolean {
  if (a === b || a === '' || b === '') return true;
  return isIPv6(a) === isIPv6(b) && [a, b].some((ip) => ip === ANY_IPV4 || ip === ANY_IPV6);
}

const keyOf = ({ protocol, hostIp, hostPort }: PublishedPort): string => `${protocol}/${hostIp}:${hostPort}`;

function taken(port: PublishedPort, by: string, cause?: unknown): WindlassError {
  const name = `${port.hostIp === '' ? '' : `${isIPv6(port.hostIp) ? `[${port.hostIp}]` : port.hostIp}:`}${port.hostPort}/${port.protocol}`;
  return new WindlassError('AlreadyExists', `port ${name} is taken by ${by}`, {
    details: { port: port.hostPort, holder: by },
    cause,
  });
}
