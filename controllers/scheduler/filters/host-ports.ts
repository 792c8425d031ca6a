import { keyOf } from '../../runtime/object-key.ts';
import type { Filter } from '../filter.ts';
import { hostPortsOf } from '../ledger.ts';
import { nomineesBefore, portId, type Claim, type HostPort } from '../node-state.ts';

/** No container of the node publishes one of the host ports already. The holder is named. */
export const hostPorts: Filter = (container, node) => {
  const ports = hostPortsOf(container);
  if (ports.length === 0) return undefined;
  const nominees = nomineesBefore(node, keyOf(container), container.spec.priority);
  for (const wanted of ports) {
    const id = portId(wanted);
    const isHolding = (claim: Claim): boolean =>
      claim.ports.some((port) => portId(port) === id && overlaps(port, wanted));
    const holder = node.ports.get(id)?.find(isHolding) ?? nominees.find(isHolding);
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
