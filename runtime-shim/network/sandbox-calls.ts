// The calls of NodeNetwork that are about sandboxes: attach, reserve and adopt, detach, change.
import { WindlassError } from '../../lib/errors.ts';
import type { EndpointPlanner } from './endpoint-planner.ts';
import type { NodeNetwork } from './node-network.ts';
import type { NetworkParts } from './parts.ts';
import type { EndpointRecord, SandboxRecord } from './records.ts';
import type { SandboxChanges } from './sandbox-changes.ts';
import { describeInterface, describeSandbox, hasIpv6, requireSandbox } from './sandboxes.ts';

export type SandboxCalls = Pick<
  NodeNetwork,
  | 'attachSandbox'
  | 'reserveSandbox'
  | 'adoptSandbox'
  | 'listSandboxes'
  | 'detachSandbox'
  | 'attachNetwork'
  | 'detachNetwork'
  | 'updatePorts'
  | 'sandboxStatus'
>;

export function createSandboxCalls(
  { state, tables, ports, departures }: NetworkParts,
  { plan, planWithRoom }: EndpointPlanner,
  { save, connect, realise, forget, removeEndpoint, replaceRecord }: SandboxChanges,
): SandboxCalls {
  /** The record of a sandbox that is not on its way out; NotFound else. */
  const present = (sandboxId: string): SandboxRecord => {
    if (departures.has(sandboxId))
      throw new WindlassError('NotFound', `sandbox ${sandboxId} is not attached to any network any more`);
    return requireSandbox(state, sandboxId);
  };

  return {
    async attachSandbox(sandboxId, netnsPath, attachments, wantedPorts, label) {
      if (departures.has(sandboxId)) await departures.settled();
      await tables.settled();
      const existing = state.sandboxes.get(sandboxId);
      if (existing) {
        const record = { ...existing, netnsPath };
        save(record);
        await realise(record);
        return describeSandbox(record);
      }
      const endpoints: EndpointRecord[] = [];
      for (const attachment of attachments)
        endpoints.push(await planWithRoom({ id: sandboxId, endpoints }, attachment));
      const claimed = ports.claim(sandboxId, label, wantedPorts, hasIpv6(endpoints));
      const record: SandboxRecord = { id: sandboxId, label, netnsPath, endpoints, ports: claimed };
      try {
        save(record);
      } catch (error) {
        // Without a record nobody would give them back.
        ports.release(sandboxId);
        throw error;
      }
      await realise(record);
      return describeSandbox(record);
    },

    async reserveSandbox(sandboxId, netnsPath, networkId) {
      await tables.settled();
      const endpoint = plan({ id: sandboxId, endpoints: [] }, { network: networkId, names: [] });
      const label = 'a sandbox that is kept ready';
      const record: SandboxRecord = {
        ...{ id: sandboxId, label, netnsPath, endpoints: [endpoint], ports: [] },
        isReserved: true,
      };
      save(record);
      await realise(record);
    },

    async adoptSandbox(sandboxId, names, wantedPorts, label) {
      await tables.settled();
      const { isReserved: _, ...before } = present(sandboxId);
      const claimed = ports.claim(sandboxId, label, wantedPorts, hasIpv6(before.endpoints));
      const endpoints = before.endpoints.map((endpoint) => ({ ...endpoint, names }));
      const after: SandboxRecord = { ...before, label, endpoints, ports: claimed };
      await replaceRecord(before, after);
      return describeSandbox(after);
    },

    listSandboxes: () => [...state.sandboxes.keys()].filter((id) => !departures.has(id)),

    async detachSandbox(sandboxId) {
      await tables.settled();
      const record = state.sandboxes.get(sandboxId);
      if (record && !departures.has(sandboxId)) void forget(record);
    },

    async attachNetwork(sandboxId, attachment) {
      await tables.settled();
      const before = present(sandboxId);
      const existing = before.endpoints.find(({ network }) => network === attachment.network);
      const endpoint = existing ?? (await planWithRoom(before, attachment));
      const after = existing ? before : { ...before, endpoints: [...before.endpoints, endpoint] };
      ports.claim(sandboxId, before.label, before.ports, hasIpv6(after.endpoints));
      save(after);
      try {
        connect(after, endpoint);
        await replaceRecord(before, after);
      } catch (error) {
        if (!existing) {
          await removeEndpoint(endpoint);
          await replaceRecord(after, before);
        }
        throw error;
      }
      return describeInterface(endpoint);
    },

    async detachNetwork(sandboxId, networkId) {
      await tables.settled();
      const before = departures.has(sandboxId) ? undefined : state.sandboxes.get(sandboxId);
      const endpoint = before?.endpoints.find(({ network }) => network === networkId);
      // One that leaves takes all its endpoints along; to change its record now would bring it back.
      if (!before || !endpoint || departures.has(sandboxId)) return;
      await removeEndpoint(endpoint);
      await replaceRecord(before, { ...before, endpoints: before.endpoints.filter((other) => other !== endpoint) });
    },

    async updatePorts(sandboxId, wantedPorts) {
      await tables.settled();
      const before = present(sandboxId);
      const claimed = ports.claim(sandboxId, before.label, wantedPorts, hasIpv6(before.endpoints));
      try {
        await replaceRecord(before, { ...before, ports: claimed });
      } catch (error) {
        ports.release(sandboxId, present(sandboxId).ports);
        throw error;
      }
      ports.release(sandboxId, claimed);
      return claimed;
    },

    sandboxStatus(sandboxId) {
      const record = departures.has(sandboxId) ? undefined : state.sandboxes.get(sandboxId);
      return record && describeSandbox(record);
    },
  };
}
