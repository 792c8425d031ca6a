// Drift: what someone else changed about our links and tables. The kernel tells every change over multicast sockets,
// which are looked at a few times a second: libuv cannot wait on them, and a look costs two system calls.
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort, messageOf } from '../../lib/errors.ts';
import { kernelNames } from '../../lib/instance.ts';
import type { NetlinkMessage, NetlinkSocket } from '../host/netlink.ts';
import { NFNLGRP_NFTABLES, openNfnetlink } from '../host/nfnetlink.ts';
import { linkOfLostAddress } from '../host/link-addresses.ts';
import { linkIndex, openRtnetlink, RTNLGRP } from '../host/rtnetlink.ts';
import type { NetworkSpec } from './node-network.ts';
import { isOverlay } from './overlay.ts';
import { repairLinks, type RepairParts } from './repair.ts';
import { isSuspicious, isSuspiciousNeighbour } from './suspicion.ts';
import type { Tables } from './tables.ts';

const POLL_MS = 200;
const RETRY_MS = 1000;
/** Links are compared this often without any hint, for what a failed repair left. */
const FULL_CHECK_MS = 15_000;

export interface DriftWatch extends RepairParts {
  readonly tables: Tables;
  readonly onTick: () => void;
  /** Told after every look: why it failed, or undefined. */
  readonly onTrouble: (why: string | undefined) => void;
}

/** Repairs until `signal` fires. */
export async function watchDrift(watch: DriftWatch, signal: AbortSignal): Promise<void> {
  using linkEvents = openRtnetlink([RTNLGRP.link, RTNLGRP.ipv4Address, RTNLGRP.ipv4Rule]);
  using neighbourEvents = createNeighbourWatch(watch);
  using ipv6Events = createIpv6Watch(watch);
  using tableEvents = openNfnetlink([NFNLGRP_NFTABLES]);
  let checkedAt = performance.now();
  while (!signal.aborted) {
    try {
      const isHinted = [concernsLinks(watch, linkEvents), neighbourEvents.isHinted(), ipv6Events.isHinted()].includes(
        true,
      );
      if (isHinted || performance.now() - checkedAt > FULL_CHECK_MS) {
        checkedAt = performance.now();
        checkLinks(watch);
      }
      await checkTables(watch, tableEvents);
      watch.onTick();
      watch.onTrouble(undefined);
      await sleep(POLL_MS, undefined, { signal });
    } catch (error) {
      if (isAbort(error)) return;
      watch.log.error({ err: error }, 'failed to repair the network');
      watch.onTrouble(messageOf(error));
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

function concernsLinks({ instance, state }: DriftWatch, events: NetlinkSocket): boolean {
  const { messages, overrun } = events.receive();
  return overrun || isSuspicious(instance, state, messages, linkIndex);
}

interface OptionalWatch extends Disposable {
  /** Whether there is something to look at. */
  isHinted(): boolean;
}

/** Messages of a group that only some networks are concerned by: on a node that has none they are nobody's business. */
function createOptionalWatch(
  group: number,
  isNeeded: () => boolean,
  isSuspect: (messages: readonly NetlinkMessage[]) => boolean,
): OptionalWatch {
  let events: NetlinkSocket | undefined;
  const close = (): void => {
    events?.[Symbol.dispose]();
    events = undefined;
  };
  return {
    isHinted() {
      if (!isNeeded()) {
        close();
        return false;
      }
      // What happened before it was open, nobody told: look.
      const isNew = events === undefined;
      events ??= openRtnetlink([group]);
      const { messages, overrun } = events.receive();
      return isNew || overrun || isSuspect(messages);
    },
    [Symbol.dispose]: close,
  };
}

/** Entries of overlays. */
const createNeighbourWatch = ({ instance, state }: DriftWatch): OptionalWatch =>
  createOptionalWatch(
    RTNLGRP.neighbour,
    () => [...state.networks.values()].some(isOverlay),
    (messages) => isSuspiciousNeighbour(instance, state, messages, linkIndex),
  );

/** IPv6 addresses of bridges; those that come and go with every veth are not ours. */
function createIpv6Watch({ instance, state }: DriftWatch): OptionalWatch {
  const concerned = (): NetworkSpec[] => [...state.networks.values()].filter(({ ipv6 }) => ipv6);
  return createOptionalWatch(
    RTNLGRP.ipv6Address,
    () => concerned().length > 0,
    (messages) => {
      const lost = new Set(messages.flatMap((message) => linkOfLostAddress(message) ?? []));
      return lost.size > 0 && concerned().some(({ id }) => lost.has(linkIndex(kernelNames.bridge(instance, id))));
    },
  );
}

function checkLinks(watch: DriftWatch): void {
  const { repaired } = repairLinks(watch);
  if (repaired.length > 0) watch.log.warn({ links: repaired }, 'repaired links that someone changed');
}

async function checkTables({ instance, tables, log }: DriftWatch, events: NetlinkSocket): Promise<void> {
  const { messages, overrun } = events.receive();
  if (!overrun && !messages.some(tables.isForeignChange)) return;
  await tables.rebuild();
  log.warn({ table: kernelNames.nftTable(instance) }, 'rebuilt the packet filter that someone changed');
}
