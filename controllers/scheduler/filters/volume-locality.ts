import type { Filter } from '../filter.ts';
import { volumesOf } from '../ledger.ts';

/** A volume that lives on a node is used there. Also before its object says so: its first user decides. */
export const volumeLocality: Filter = (container, node, context) => {
  for (const key of volumesOf(container)) {
    const volume = context.volume(key);
    const bound = volume?.status?.nodeName ?? volume?.spec.nodeName;
    const homes = bound === undefined ? context.nodesOfVolume(key) : [bound];
    if (homes.length > 0 && !homes.includes(node.name)) {
      return { reason: `did not hold volume ${key.split('/')[1] ?? key}`, detail: `which is on ${homes.join(', ')}` };
    }
  }
  return undefined;
};
