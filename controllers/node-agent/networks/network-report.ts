// What a node says of a Network in its entry of `status.nodes`, as a patch of that entry alone: all nodes write to one
// object, often in the same second, and a write by version would lose against each of the others.
import type { PatchOperation } from '../../../client/client.ts';
import { isIngress, type Network } from '../../../crds/network.ts';
import type { Need } from '../container/prepared.ts';

/** The runtime's fault; for the other reasons to wait it is the network controller that has not done its part yet. */
const FAILED = 'NetworkFailed';

/**
 * The patch that makes the entry of `nodeName` say what `need` says; undefined when it does, or is not worth a write. It is
 * refused as Invalid when the entry is elsewhere by now, or another Network has taken the name.
 */
export function planNetworkReport(
  network: Network,
  nodeName: string,
  { need, isUsed }: { readonly need: Need<{ readonly bridge: string }>; readonly isUsed: boolean },
): readonly PatchOperation[] | undefined {
  const nodes = network.status?.nodes ?? [];
  const index = nodes.findIndex(({ name }) => name === nodeName);
  const entry = nodes[index];
  // The entry itself is the network controller's: it holds the node's addresses.
  if (!entry) return undefined;
  // Every agent reads what each of them writes there: without a container on it, only what went wrong is worth that.
  const isNews = (need.state === 'Waiting' && need.reason === FAILED) || entry.ready === false;
  if (isIngress(network) && !isUsed && !isNews) return undefined;
  const wanted =
    need.state === 'Ready' ? { bridge: need.bridge, ready: true } : { ready: false, message: need.message };
  const isSaid =
    entry.bridge === (wanted.bridge ?? entry.bridge) &&
    entry.ready === wanted.ready &&
    entry.message === wanted.message;
  if (isSaid) return undefined;
  const path = `/status/nodes/${index}`;
  return [
    { op: 'test', path: '/metadata/uid', value: network.metadata.uid },
    { op: 'test', path: `${path}/name`, value: nodeName },
    ...Object.entries(wanted).map(([field, value]) => ({ op: 'add' as const, path: `${path}/${field}`, value })),
    // Added first, so that it is there to be removed.
    ...(wanted.message === undefined
      ? [
          { op: 'add' as const, path: `${path}/message`, value: '' },
          { op: 'remove' as const, path: `${path}/message` },
        ]
      : []),
  ];
}
