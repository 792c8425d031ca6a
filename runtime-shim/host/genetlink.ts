// Generic netlink (genetlink): families of requests that have a name, and a number that the kernel gives out when it starts.
import { errnoOf } from '../../lib/errors.ts';
import {
  decodeAttributes,
  encodeAttributes,
  NETLINK,
  NetlinkSocket,
  NLM_F,
  text,
  type Attribute,
  type NetlinkRequest,
} from './netlink.ts';

const CONTROLLER = 0x10;
const CTRL = { getFamily: 3, familyId: 1, familyName: 2 } as const;
const HEADER_BYTES = 4;

/** A generic netlink socket in the current net namespace. */
export const openGenetlink = (): NetlinkSocket => new NetlinkSocket(NETLINK.generic);

/** A request of a family: struct genlmsghdr (command, version, two bytes of nothing), then attributes. */
export function genetlinkRequest(
  effect: string,
  { family, command, flags }: { readonly family: number; readonly command: number; readonly flags: number },
  attributes: readonly Attribute[],
): NetlinkRequest {
  const body = Buffer.concat([Buffer.of(command, 1, 0, 0), encodeAttributes(attributes)]);
  return { type: family, flags, body, effect };
}

/** The attributes of an answer. */
export const genetlinkAttributes = ({ body }: { readonly body: Buffer }): Map<number, Buffer> =>
  decodeAttributes(body.subarray(HEADER_BYTES));

/**
 * The number of the family; undefined when this kernel has none of that name. Asking makes the kernel load the module that
 * has it, where it is one.
 */
export function findFamily(socket: NetlinkSocket, name: string): number | undefined {
  const ask = { family: CONTROLLER, command: CTRL.getFamily, flags: NLM_F.ack };
  try {
    const [answer] = socket.request([genetlinkRequest(`find ${name}`, ask, [[CTRL.familyName, text(name)]])]);
    return answer && genetlinkAttributes(answer).get(CTRL.familyId)?.readUInt16LE(0);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
