// Forgetting flows. A UDP flow keeps the translation (or the lack of one) that its first packet got for as long as the
// client goes on sending, so a port that was published or moved would never be noticed by it. A TCP connection is a flow
// of its own; only one that nobody has answered yet can still be led elsewhere.
import { errnoOf } from '../../lib/errors.ts';
import { formatAddress } from '../../lib/ip-address.ts';
import { decodeAttributes, encodeAttributes, NLM_F, type NetlinkMessage, type NetlinkSocket } from './netlink.ts';

const SUBSYSTEM = 1;
const MESSAGE = { get: 1, delete: 2 } as const;
const CTA = {
  original: 1,
  reply: 2,
  status: 3,
  ip: 1,
  protocol: 2,
  ipSource: 1,
  ipv6Source: 3,
  number: 1,
  destinationPort: 3,
} as const;
const STATUS = { seenReply: 1 << 1, destinationChanged: 1 << 5 } as const;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
/** struct nfgenmsg: family (of both, for a list), version, resource. */
const NFGENMSG = Buffer.of(0, 0, 0, 0);

/** Port that flows were sent to -> addresses that may go on answering them. */
export type UdpFlows = ReadonlyMap<number, ReadonlySet<string>>;

/** Deletes the UDP flows to these ports that somebody else answers, in the current net namespace; returns how many. */
export function forgetUdpFlows(socket: NetlinkSocket, flows: UdpFlows): number {
  if (flows.size === 0) return 0;
  return forgetFlows(socket, (message) => matchFlow(message, flows));
}

/**
 * Deletes the flows that were led to these addresses and have no answer so far: what the client sends next is led on anew.
 * Returns how many.
 */
export function forgetUnanswered(socket: NetlinkSocket, servers: ReadonlySet<string>): number {
  if (servers.size === 0) return 0;
  return forgetFlows(socket, (message) => matchUnanswered(message, servers));
}

/** Deletes the flows of which `match` gives the original tuple. */
function forgetFlows(socket: NetlinkSocket, match: (message: NetlinkMessage) => Buffer | undefined): number {
  const dump = { type: (SUBSYSTEM << 8) | MESSAGE.get, flags: NLM_F.dump, body: NFGENMSG, effect: 'list flows' };
  const found = listFlows(() => socket.request([dump])).flatMap((message) => {
    const tuple = match(message);
    return tuple ? [{ tuple, family: message.body[0] ?? 0 }] : [];
  });
  for (const { tuple, family } of found) {
    const body = Buffer.concat([Buffer.of(family, 0, 0, 0), encodeAttributes([[CTA.original | NESTED, tuple]])]);
    try {
      socket.request([{ type: (SUBSYSTEM << 8) | MESSAGE.delete, flags: NLM_F.ack, body, effect: 'delete flow' }]);
    } catch (error) {
      // It ended by itself meanwhile.
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return found.length;
}

const NESTED = 0x8000;

/** A kernel without ctnetlink cannot be asked: its flows end when their clients fall silent. */
function listFlows(list: () => NetlinkMessage[]): NetlinkMessage[] {
  try {
    return list();
  } catch (error) {
    if (errnoOf(error) === 'EINVAL' || errnoOf(error) === 'EOPNOTSUPP') return [];
    throw error;
  }
}

/** The original tuple, as it came, of a UDP flow that matches. */
function matchFlow(message: NetlinkMessage, flows: UdpFlows): Buffer | undefined {
  const attributes = decodeAttributes(message.body.subarray(NFGENMSG.length));
  const original = attributes.get(CTA.original);
  const reply = attributes.get(CTA.reply);
  if (!original || !reply) return undefined;
  const protocol = nested(original, CTA.protocol);
  if (protocol.get(CTA.number)?.[0] !== PROTOCOL_UDP) return undefined;
  const port = protocol.get(CTA.destinationPort)?.readUInt16BE(0) ?? 0;
  const server = serverOf(reply);
  const mayAnswer = flows.get(port);
  return mayAnswer && !mayAnswer.has(server) ? original : undefined;
}

/** The original tuple, as it came, of a flow that was led to one of the servers and can still be led elsewhere. */
export function matchUnanswered(message: NetlinkMessage, servers: ReadonlySet<string>): Buffer | undefined {
  const attributes = decodeAttributes(message.body.subarray(NFGENMSG.length));
  const original = attributes.get(CTA.original);
  const reply = attributes.get(CTA.reply);
  const status = attributes.get(CTA.status)?.readUInt32BE(0) ?? 0;
  if (!original || !reply || (status & STATUS.destinationChanged) === 0) return undefined;
  const protocol = nested(original, CTA.protocol).get(CTA.number)?.[0];
  const isKnown = protocol === PROTOCOL_UDP || protocol === PROTOCOL_TCP;
  const isMovable = isKnown && (status & STATUS.seenReply) === 0;
  const server = serverOf(reply);
  return isMovable && servers.has(server) ? original : undefined;
}

function serverOf(reply: Buffer): string {
  const ip = nested(reply, CTA.ip);
  return formatAddress(ip.get(CTA.ipSource) ?? ip.get(CTA.ipv6Source));
}

function nested(bytes: Buffer, type: number): Map<number, Buffer> {
  return decodeAttributes(decodeAttributes(bytes).get(type) ?? Buffer.alloc(0));
}
