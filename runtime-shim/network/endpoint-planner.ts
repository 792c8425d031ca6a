// Addresses for new endpoints. One that is taken by a sandbox on its way out, or by one that is kept ready, is had by
// waiting for the first and giving back the second.
import { reasonOf } from '../../lib/errors.ts';
import type { Attachment } from './node-network.ts';
import type { NetworkParts } from './parts.ts';
import type { EndpointRecord, SandboxRecord } from './records.ts';
import { planEndpoint } from './sandboxes.ts';

export interface EndpointPlanner {
  /** Chooses name, address and MAC of a new endpoint. Unavailable or Conflict when the address is taken. */
  plan(sandbox: Pick<SandboxRecord, 'id' | 'endpoints'>, attachment: Attachment): EndpointRecord;
  /** As plan(), but makes room first if that can help. */
  planWithRoom(sandbox: Pick<SandboxRecord, 'id' | 'endpoints'>, attachment: Attachment): Promise<EndpointRecord>;
  /** Waits for those who leave and has the ones kept ready removed; true when that can have freed an address. */
  makeRoom(networkId: string): Promise<boolean>;
  /** See NodeNetwork.onReservedInTheWay(). */
  onReservedInTheWay(listener: (networkId: string) => Promise<void>): void;
  /** The network is gone: nothing is remembered of its addresses. */
  forgetNetwork(networkId: string): void;
}

export function createEndpointPlanner({
  instance,
  state,
  departures,
}: Pick<NetworkParts, 'instance' | 'state' | 'departures'>): EndpointPlanner {
  const lastAddress = new Map<string, number>();
  let returnReserved: (networkId: string) => Promise<void> = () => Promise.resolve();

  const plan: EndpointPlanner['plan'] = (sandbox, attachment) =>
    planEndpoint(instance, state, lastAddress, sandbox, attachment);

  const makeRoom = async (networkId: string): Promise<boolean> => {
    const hasLeft = await departures.settled();
    const reserved = [...state.sandboxes.values()].some(
      ({ isReserved, endpoints }) => isReserved && endpoints.some(({ network }) => network === networkId),
    );
    if (reserved) await returnReserved(networkId);
    await departures.settled();
    return hasLeft || reserved;
  };

  return {
    plan,
    async planWithRoom(sandbox, attachment) {
      try {
        return plan(sandbox, attachment);
      } catch (error) {
        const isTaken = ['Unavailable', 'Conflict'].includes(reasonOf(error) ?? '');
        if (!isTaken || !(await makeRoom(attachment.network))) throw error;
        return plan(sandbox, attachment);
      }
    },
    makeRoom,
    onReservedInTheWay(listener) {
      returnReserved = listener;
    },
    forgetNetwork: (networkId) => void lastAddress.delete(networkId),
  };
}
