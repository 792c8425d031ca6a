// What the parts of a node's network work on in common.
import type { Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import type { Departures } from './departures.ts';
import type { PortTable } from './ports.ts';
import type { NetworkRecords } from './records.ts';
import type { NetworkState } from './state.ts';
import type { Tables } from './tables.ts';
import type { Tunnel } from './tunnel.ts';

export interface NetworkParts {
  readonly instance: Instance;
  readonly log: Logger;
  readonly state: NetworkState;
  readonly records: NetworkRecords;
  /** Over rtnetlink. */
  readonly links: NetlinkSocket;
  /** Over nfnetlink. */
  readonly filter: NetlinkSocket;
  readonly tables: Tables;
  readonly ports: PortTable;
  readonly departures: Departures;
  readonly tunnel: Tunnel;
}
