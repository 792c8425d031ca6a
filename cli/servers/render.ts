// The servers of a cluster as text. Pure.
import type { Server } from '../../crds/servers.ts';
import { renderTable } from '../table.ts';

/** A table with one line per server. */
export const renderServers = (servers: readonly Server[]): string =>
  renderTable([['SERVER', 'ROLE', 'ETCD'], ...servers.map(({ name, role, peerUrl }) => [name, role, peerUrl])]);
