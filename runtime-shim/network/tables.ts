// Keeps the instance's nftables equal to the state. Elements change by one nfnetlink transaction each; a table that is
// absent or was tampered with is replaced as a whole, atomically, from the state.
import { errnoOf } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import type { NetlinkMessage, NetlinkSocket } from '../host/netlink.ts';
import { changeElements, removeElements, tableOfMessage } from '../host/nfnetlink.ts';
import { runNftScript } from '../host/nft.ts';
import { servicePlan, tableContent, type NetworkState } from './state.ts';
import { diffServices, type ServicePlan } from './service-plan.ts';
import type { TableElement } from './table-elements.ts';
import { renderDeletion, renderServiceChains, renderTables } from './table-script.ts';

export interface Tables {
  /** Resolves when no replacement is under way: element changes made now are not lost. */
  settled(): Promise<void>;
  /** Adds elements that the state already holds; an absent table is rebuilt from the state. */
  add(elements: readonly TableElement[]): Promise<void>;
  /** Removes elements that the state no longer holds. */
  remove(elements: readonly TableElement[]): void;
  /** Brings the chains and elements of the services to the state. */
  syncServices(): Promise<void>;
  /** Replaces both tables by the state. */
  rebuild(): Promise<void>;
  /** How often the tables were replaced: tells whether elements removed earlier may be back. */
  rebuilds(): number;
  /** True when the message tells of a change to our tables that we did not make. */
  isForeignChange(message: NetlinkMessage): boolean;
  destroy(): Promise<void>;
}

const EMPTY_PLAN: ServicePlan = { elements: [], chains: new Map(), virtualIps: new Map() };

/** Tables of the instance over an open nfnetlink socket. */
export function createTables(instance: Instance, state: NetworkState, socket: NetlinkSocket): Tables {
  let servicesInKernel = EMPTY_PLAN;
  let script: Promise<void> = Promise.resolve();
  let replacing = 0;
  let rebuilds = 0;
  // The nft program's sockets have its pid as their port: its own changes must not look like drift.
  const ownPorts = new Set([socket.portId]);

  /** One nft program at a time, in the order asked; a failed one does not stop the next. */
  const queue = (work: () => Promise<void>): Promise<void> => {
    const done = script.then(work);
    script = done.catch(() => undefined);
    return done;
  };
  const run = (text: string): Promise<void> => runNftScript(text, (pid) => remember(ownPorts, pid));

  const rebuild = (): Promise<void> =>
    queue(async () => {
      replacing += 1;
      rebuilds += 1;
      try {
        servicesInKernel = servicePlan(instance, state);
        await run(renderTables(instance, tableContent(instance, state)));
      } catch (error) {
        servicesInKernel = EMPTY_PLAN;
        throw error;
      } finally {
        replacing -= 1;
      }
    });

  return {
    async settled() {
      while (replacing > 0) await script;
    },
    async add(elements) {
      try {
        changeElements(socket, { add: elements });
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EEXIST') throw error;
        await rebuild();
      }
    },
    remove: (elements) => removeElements(socket, elements),
    syncServices: () =>
      queue(async () => {
        const wanted = servicePlan(instance, state);
        const change = diffServices(servicesInKernel, wanted);
        // Order: a chain exists before an element goes to it, and no element goes to it when it is deleted.
        try {
          if (change.setChains.size > 0)
            await run(renderServiceChains(instance, { set: change.setChains, remove: [] }));
          changeElements(socket, { remove: change.remove, add: change.add });
          if (change.removeChains.length > 0)
            await run(renderServiceChains(instance, { set: new Map(), remove: change.removeChains }));
          servicesInKernel = wanted;
        } catch {
          // Whatever stands in the way, a table from scratch has no history.
          await run(renderTables(instance, tableContent(instance, state)));
          servicesInKernel = servicePlan(instance, state);
        }
      }),
    rebuild,
    rebuilds: () => rebuilds,
    isForeignChange: (message) =>
      !ownPorts.has(message.portId) && tableOfMessage(message) === kernelNames.nftTable(instance),
    destroy: () => queue(() => run(renderDeletion(instance))),
  };
}

/** Pids are recycled: only the last few programs are remembered. */
function remember(pids: Set<number>, pid: number): void {
  pids.add(pid);
  if (pids.size <= 64) return;
  const [own = 0, oldest] = pids;
  if (oldest !== undefined && oldest !== own) pids.delete(oldest);
}
