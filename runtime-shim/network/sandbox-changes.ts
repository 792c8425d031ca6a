// From one record of a sandbox to the next: on disk, then in the kernel.
import { kernelNames } from '../../lib/instance.ts';
import { forgetUdpFlows } from '../host/conntrack.ts';
import { linkIndex } from '../host/rtnetlink.ts';
import { withoutRights } from './departures.ts';
import { createLinkRemover } from './link-remover.ts';
import { ensureBridge, ensureEndpoint, ensureLoopback } from './links.ts';
import type { PublishedPort } from './node-network.ts';
import type { NetworkParts } from './parts.ts';
import type { EndpointRecord, SandboxRecord } from './records.ts';
import { minus } from './replace-elements.ts';
import { requireNetwork } from './sandboxes.ts';
import { sandboxElements } from './state.ts';

export interface SandboxChanges {
  /** Writes the record down and takes it into the state; nothing is made yet. */
  save(record: SandboxRecord): void;
  /** Makes the veth pair of one endpoint, with its ends in the namespace and in the bridge. */
  connect(record: SandboxRecord, endpoint: EndpointRecord): void;
  /** Makes what the record says; on failure everything of the sandbox goes, so that a retry starts clean. */
  realise(record: SandboxRecord): Promise<void>;
  /** Takes away all the sandbox has. Names and ports are free on return; resolves when the links are gone too. */
  forget(record: SandboxRecord): Promise<void>;
  removeEndpoint(endpoint: EndpointRecord): Promise<void>;
  /** Saves `after` and changes the elements that differ. */
  replaceRecord(before: SandboxRecord, after: SandboxRecord): Promise<void>;
}

export function createSandboxChanges(parts: NetworkParts): SandboxChanges {
  const { instance, state, records, links, filter, tables, ports, departures } = parts;
  const removeLink = createLinkRemover(instance, state.leaving);

  const save = (record: SandboxRecord): void => {
    records.saveSandbox(record);
    state.sandboxes.set(record.id, record);
  };
  const connect = (record: SandboxRecord, endpoint: EndpointRecord): void => {
    const spec = requireNetwork(state, endpoint.network);
    const bridge = kernelNames.bridge(instance, spec.id);
    // Made with the network and watched since: to look at all of its settings again is dearer than the endpoint.
    if (linkIndex(bridge) === 0) ensureBridge(links, instance, spec);
    ensureEndpoint(links, record.netnsPath, bridge, endpoint, spec);
  };
  /** Clients that went on sending to a UDP port must notice that it leads elsewhere now. */
  const forgetFlows = (changed: readonly PublishedPort[]): void => {
    const nobody = new Set<string>();
    const published = changed.filter(({ protocol }) => protocol === 'UDP');
    forgetUdpFlows(filter, new Map(published.map(({ hostPort }) => [hostPort, nobody])));
  };
  const removeEndpoint = ({ hostLink }: EndpointRecord): Promise<void> => removeLink(hostLink);

  /** Order: the record goes last, so that a crash in between leaves something to finish from. */
  const forget = (record: SandboxRecord): Promise<void> => {
    tables.remove(sandboxElements(instance, state, record));
    const rest = withoutRights(record);
    if (record.ports.length > 0) records.saveSandbox(rest);
    state.sandboxes.set(record.id, rest);
    forgetFlows(record.ports);
    ports.release(record.id);
    const rebuilds = tables.rebuilds();
    return departures.begin(record, async () => {
      await Promise.all(rest.endpoints.map(removeEndpoint));
      await tables.settled();
      // Only now is nobody left who answers to the addresses, which may be given out again.
      state.sandboxes.delete(record.id);
      // A table that was rebuilt in the meantime holds the elements again. (To remove in vain is dear: the kernel waits
      // for all readers of the tables before it gives up a transaction.)
      if (tables.rebuilds() !== rebuilds) tables.remove(sandboxElements(instance, state, rest));
      records.deleteSandbox(record.id);
    });
  };

  return {
    save,
    connect,
    async realise(record) {
      try {
        if (record.endpoints.length === 0) ensureLoopback(record.netnsPath);
        for (const endpoint of record.endpoints) connect(record, endpoint);
        await tables.add(sandboxElements(instance, state, record));
        forgetFlows(record.ports);
      } catch (error) {
        await forget(record);
        throw error;
      }
    },
    forget,
    removeEndpoint,
    async replaceRecord(before, after) {
      const old = sandboxElements(instance, state, before);
      const wanted = sandboxElements(instance, state, after);
      save(after);
      tables.remove(minus(old, wanted));
      await tables.add(wanted);
      if (JSON.stringify(before.ports) !== JSON.stringify(after.ports)) forgetFlows([...before.ports, ...after.ports]);
    },
  };
}
