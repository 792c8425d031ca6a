// VXLAN devices by rtnetlink(7): one per overlay, as a port of the overlay's bridge. They learn nothing: where a MAC is
// stands in static entries (neighbours.ts), and nothing that has no entry leaves the node.
import { addressBytes, formatAddress } from '../../lib/ip-address.ts';
import { decodeAttributes, NLM_F, text, u16be, u32, u8, type Attribute, type NetlinkSocket } from './netlink.ts';
import { IFLA, linkAttributes, linkRequest, listLinkMessages, macBytes, type Link, decodeLink } from './rtnetlink.ts';

const VXLAN = { id: 1, local: 4, learning: 7, port: 15, local6: 17 } as const;
const BRPORT = {
  ...{ learning: 8, unicastFlood: 9, multicastFlood: 27, broadcastFlood: 30, neighSuppress: 32, isolated: 33 },
} as const;

export interface VxlanTunnel {
  readonly vni: number;
  /** UDP port of both ends. */
  readonly port: number;
  /** Address of this host that packets leave from. */
  readonly local: string;
}

export interface VxlanLink extends Link, VxlanTunnel {
  readonly isLearning: boolean;
}

/**
 * Makes the device, down and in no bridge yet. Fails with EEXIST when a device of this net namespace has the same VNI and
 * port (or the name), with EOPNOTSUPP on a kernel without VXLAN.
 */
export function createVxlan(
  socket: NetlinkSocket,
  name: string,
  { vni, port, local, mac, mtu }: VxlanTunnel & { readonly mac: string; readonly mtu: number },
): void {
  const address = addressBytes(local);
  const tunnel: readonly Attribute[] = [
    [VXLAN.id, u32(vni)],
    [VXLAN.port, u16be(port)],
    [address.length === 4 ? VXLAN.local : VXLAN.local6, address],
    [VXLAN.learning, u8(0)],
  ];
  socket.request([
    linkRequest(`create VXLAN device ${name} with VNI ${vni} on port ${port}`, { flags: NLM_F.create | NLM_F.excl }, [
      [IFLA.name, text(name)],
      [IFLA.address, macBytes(mac)],
      [IFLA.mtu, u32(mtu)],
      [
        IFLA.linkInfo,
        [
          [IFLA.infoKind, text('vxlan')],
          [IFLA.infoData, tunnel],
        ],
      ],
    ]),
  ]);
}

/**
 * Puts the device up and into the bridge, as a port that learns nothing, floods nothing, and for whose far side the bridge
 * itself answers ARP from its neighbour table.
 */
export function joinVxlan(socket: NetlinkSocket, name: string, bridgeIndex: number, isIsolated: boolean): void {
  const port: readonly Attribute[] = [
    [BRPORT.learning, u8(0)],
    [BRPORT.unicastFlood, u8(0)],
    [BRPORT.multicastFlood, u8(0)],
    [BRPORT.broadcastFlood, u8(0)],
    [BRPORT.neighSuppress, u8(1)],
    [BRPORT.isolated, u8(isIsolated ? 1 : 0)],
  ];
  socket.request([
    linkRequest(`join ${name} to its bridge`, { up: true }, [
      [IFLA.name, text(name)],
      [IFLA.master, u32(bridgeIndex)],
    ]),
    linkRequest(`set up bridge port ${name}`, {}, [
      [IFLA.name, text(name)],
      [
        IFLA.linkInfo,
        [
          [IFLA.infoSlaveKind, text('bridge')],
          [IFLA.infoSlaveData, port],
        ],
      ],
    ]),
  ]);
}

/** VXLAN devices of the current net namespace, whoever made them; those of external mode (no VNI of their own) apart. */
export function listVxlans(socket: NetlinkSocket): VxlanLink[] {
  return listLinkMessages(socket).flatMap((message) => {
    const info = decodeAttributes(linkAttributes(message).get(IFLA.linkInfo) ?? Buffer.alloc(0));
    if (info.get(IFLA.infoKind)?.toString('utf8').replace(/\0.*$/s, '') !== 'vxlan') return [];
    const data = decodeAttributes(info.get(IFLA.infoData) ?? Buffer.alloc(0));
    return [
      {
        ...decodeLink(message),
        vni: data.get(VXLAN.id)?.readUInt32LE(0) ?? 0,
        port: data.get(VXLAN.port)?.readUInt16BE(0) ?? 0,
        local: formatAddress(data.get(VXLAN.local) ?? data.get(VXLAN.local6)),
        isLearning: data.get(VXLAN.learning)?.[0] !== 0,
      },
    ];
  });
}
