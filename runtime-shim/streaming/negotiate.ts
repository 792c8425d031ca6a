// Which protocol a request for an upgrade gets: exec and attach speak the channel protocols, port forwarding its own,
// each over SPDY/3.1 or WebSocket.
import type { IncomingHttpHeaders } from 'node:http';
import { SPDY_PROTOCOLS, WEBSOCKET_PROTOCOLS } from './channels.ts';
import type { StreamTarget } from './targets.ts';

export const SPDY = 'SPDY/3.1';
export const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';
/** SPDY/3.1 as the binary messages of a WebSocket (KEP 4006), the way of kubectl from 1.31 on. */
export const TUNNEL_PROTOCOL = `${SPDY}+${PORT_FORWARD_PROTOCOL}`;
/** Two channels for each port that the URL was made for. */
export const PORT_CHANNELS_PROTOCOL = 'v4.channel.k8s.io';

export interface Negotiated {
  readonly transport: 'spdy' | 'websocket';
  readonly protocol: string;
}

export interface Refusal {
  readonly status: string;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const OFFERS = {
  spdy: { exec: SPDY_PROTOCOLS, attach: SPDY_PROTOCOLS, portforward: [PORT_FORWARD_PROTOCOL] },
  websocket: {
    exec: WEBSOCKET_PROTOCOLS,
    attach: WEBSOCKET_PROTOCOLS,
    portforward: [TUNNEL_PROTOCOL, PORT_CHANNELS_PROTOCOL],
  },
} as const;

/** The first protocol of the client's that is known here. */
export function negotiate(kind: StreamTarget['kind'], headers: IncomingHttpHeaders): Negotiated | Refusal {
  const upgrade = splitList(headers.upgrade).map((name) => name.toLowerCase());
  if (upgrade.includes('websocket')) {
    const offered = splitList(headers['sec-websocket-protocol']);
    const protocol = pick(offered, OFFERS.websocket[kind]);
    return protocol === undefined
      ? { status: '400 Bad Request', reason: unknown(offered, OFFERS.websocket[kind]) }
      : { transport: 'websocket', protocol };
  }
  if (!upgrade.includes(SPDY.toLowerCase())) {
    return { status: '400 Bad Request', reason: `unable to upgrade: only WebSocket and ${SPDY} are supported` };
  }
  const offered = splitList(headers['x-stream-protocol-version']);
  if (offered.length === 0) {
    return { status: '400 Bad Request', reason: 'unable to upgrade: X-Stream-Protocol-Version is required' };
  }
  const protocol = pick(offered, OFFERS.spdy[kind]);
  if (protocol !== undefined) return { transport: 'spdy', protocol };
  return {
    status: '403 Forbidden',
    reason: unknown(offered, OFFERS.spdy[kind]),
    headers: { 'X-Accepted-Stream-Protocol-Versions': OFFERS.spdy[kind].join(', ') },
  };
}

function pick(offered: readonly string[], known: readonly string[]): string | undefined {
  return offered.find((name) => known.includes(name));
}

function unknown(offered: readonly string[], known: readonly string[]): string {
  return `unable to upgrade: client supports [${offered.join(', ')}], server supports [${known.join(', ')}]`;
}

/** Node joins repeated headers with commas, or lists them. */
function splitList(value: string | readonly string[] | undefined): string[] {
  return [value ?? []]
    .flat()
    .join(',')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
}
