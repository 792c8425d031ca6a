// The ports of a forwarding over WebSocket channels, which are fixed when it begins.
import type { PortForwardTarget } from './targets.ts';

/** Channels are numbered with one byte, two for each port; far more than anybody asks for. */
const MAX_PORTS = 64;

/**
 * The ports in the query of a URL (`?port=80&port=443`, or `?ports=80,443`), else those it was made for. Undefined for
 * something that is no port, is not among those, or for none at all.
 */
export function selectPorts(url: string, target: PortForwardTarget): readonly number[] | undefined {
  const query = new URL(url, 'http://localhost').searchParams;
  const asked = [...query.getAll('port'), ...query.getAll('ports')].flatMap((value) => value.split(','));
  const ports = asked.length > 0 ? asked.map(Number) : target.ports;
  const isAllowed = (port: number): boolean =>
    isPort(port) && (target.ports.length === 0 || target.ports.includes(port));
  return ports.length > 0 && ports.length <= MAX_PORTS && ports.every(isAllowed) ? ports : undefined;
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65536;
}
