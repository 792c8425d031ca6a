import type { Filter } from '../filter.ts';
import { hostPortsOf, portId, type HostPort } from '../ledger.ts';

/** No container of the node publishes one of the host ports already. The holder is named. */
export const hostPorts: Filter = (container, node) => {
  for (const wanted of hostPortsOf(container)) {
    const holder = node.ports
      .get(portId(wanted))
      ?.find((claim) => claim.ports.some((port) => portId(port) === portId(wanted) && overlaps(port, wanted)));
    if (holder) {
      return {
        reason: `had host port ${wanted.port}/${wanted.protocol} taken`,
        detail: `by container ${holder.key}`,
        conditionReason: 'PortConflict',
      };
    }
  }
  return undefined;
};

const overlaps = (a: HostPort, b: HostPort): boolean => a.ip === '' || b.ip === '' || a.ip === b.ip;
