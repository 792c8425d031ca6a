// Published host ports: who has which, checked before anything is made. Each port is also held by a bound socket
// (host/port-sockets.ts), so that the kernel itself refuses it to everyone else.
import { WindlassError, errnoOf } from '../../lib/errors.ts';
import { holdPort, type HeldPort } from '../host/port-sockets.ts';
import type { PublishedPort } from './node-network.ts';
import { findPortHolder } from './port-holder.ts';

export interface PortTable {
  /**
   * Takes all ports for `holder` or none, choosing where hostPort is 0. Throws AlreadyExists that names who has the
   * port. Ports that `holder` has already are kept.
   */
  claim(holder: string, label: string, ports: readonly PublishedPort[]): PublishedPort[];
  /** Takes the ports of a record again after a restart; what another process took meanwhile is returned. */
  reclaim(holder: string, label: string, ports: readonly PublishedPort[]): { port: PublishedPort; by: string }[];
  /** Gives back every port of `holder` that is not in `keep`. */
  release(holder: string, keep?: readonly PublishedPort[]): void;
}

interface Claim {
  readonly holder: string;
  readonly label: string;
  readonly port: PublishedPort;
  readonly socket: HeldPort | undefined;
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
          (claim.port.hostIp === port.hostIp || claim.port.hostIp === '' || port.hostIp === ''),
      );

  const take = (holder: string, label: string, wanted: PublishedPort): PublishedPort => {
    if (wanted.hostPort !== 0) {
      const own = claims.get(keyOf(wanted));
      if (own?.holder === holder) {
        claims.set(keyOf(wanted), { ...own, port: wanted });
        return wanted;
      }
      const conflict = findConflict(holder, wanted);
      if (conflict) throw taken(wanted, conflict.label);
    }
    try {
      const socket = hold(wanted.protocol, wanted.hostIp, wanted.hostPort);
      const port = { ...wanted, hostPort: socket.port };
      claims.set(keyOf(port), { holder, label, port, socket });
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
      claim.socket?.release();
      claims.delete(key);
    }
  };

  return {
    claim(holder, label, ports) {
      const before = [...claims.values()].filter((claim) => claim.holder === holder).map(({ port }) => port);
      try {
        return ports.map((port) => take(holder, label, port));
      } catch (error) {
        release(holder, before);
        throw error;
      }
    },
    reclaim(holder, label, ports) {
      return ports.flatMap((port) => {
        try {
          take(holder, label, port);
          return [];
        } catch (error) {
          // The container runs and keeps its port: a socket that took it while the shim was away never sees a packet.
          claims.set(keyOf(port), { holder, label, port, socket: undefined });
          return [{ port, by: error instanceof Error ? error.message : String(error) }];
        }
      });
    },
    release,
  };
}

const keyOf = ({ protocol, hostIp, hostPort }: PublishedPort): string => `${protocol}/${hostIp}:${hostPort}`;

function taken(port: PublishedPort, by: string, cause?: unknown): WindlassError {
  const name = `${port.hostIp === '' ? '' : `${port.hostIp}:`}${port.hostPort}/${port.protocol}`;
  return new WindlassError('AlreadyExists', `port ${name} is taken by ${by}`, {
    details: { port: port.hostPort, holder: by },
    cause,
  });
}
