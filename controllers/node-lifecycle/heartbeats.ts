// When each node was last heard of, by this process' clock, and whether this process could have heard it.
import type { ApiClient } from '../../client/client.ts';
import { pause } from '../../client/pause.ts';
import {
  DEFAULT_LEASE_SECONDS,
  MAX_LEASE_SECONDS,
  MIN_LEASE_SECONDS,
  NODE_LEASE_NAMESPACE,
} from '../../client/lease.ts';
import { leaseKind, type Lease, type Node } from '../../crds/builtin.ts';
import type { Clock } from '../../lib/clock.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { Cache } from '../runtime/cache.ts';

const PROBE_INTERVAL_MS = 1_000;
const PROBE_TIMEOUT_MS = 1_000;

export interface Heartbeats extends RunPart {
  /** Last sign of life of the node; the moment it was first asked for, when there never was one. */
  seenAt(nodeName: string): number;
  /** Silence after which the node counts as dead: as long as its Lease says. */
  graceMsOf(nodeName: string): number;
  /** Asks the server for the Lease: a cache that is behind must not declare a node dead. */
  refresh(nodeName: string, signal: AbortSignal): Promise<void>;
}

/**
 * Follows the Leases. While the API server does not answer, no node can renew and nothing is known of any: that time
 * counts for none of them, so that an outage of the server does not look like the death of all nodes.
 */
export function createHeartbeats(deps: {
  readonly client: ApiClient;
  readonly leases: Cache<Lease>;
  readonly nodes: Cache<Node>;
  readonly clock: Clock;
  /** No grace is shorter than this. */
  readonly minGraceMs: number;
}): Heartbeats {
  const { client, leases, nodes, clock } = deps;
  const seen = new Map<string, number>();
  let isBlind = false;
  let blindUntil = 0;
  const renewals = new Map<string, string>();
  const durations = new Map<string, number>();
  const note = ({ metadata, spec }: Lease): void => {
    durations.set(metadata.name, spec?.leaseDurationSeconds ?? DEFAULT_LEASE_SECONDS);
    const renewTime = spec?.renewTime ?? '';
    if (renewals.get(metadata.name) === renewTime) return;
    renewals.set(metadata.name, renewTime);
    seen.set(metadata.name, clock.now());
  };
  const forget = (name: string): void => {
    for (const map of [seen, renewals, durations]) map.delete(name);
  };
  leases.subscribe(({ object, deleted }) => {
    if (deleted) forget(object.metadata.name);
    else note(object);
  });
  // Its Lease may outlive a Node, and be renewed by it for a while: what is known goes with whichever is last.
  nodes.subscribe(({ object, deleted }) => {
    if (deleted) forget(object.metadata.name);
  });
  return {
    name: 'node heartbeats',
    seenAt(nodeName) {
      const at = seen.get(nodeName) ?? clock.now();
      seen.set(nodeName, at);
      return isBlind ? clock.now() : Math.max(at, blindUntil);
    },
    graceMsOf(nodeName) {
      const seconds = durations.get(nodeName) ?? DEFAULT_LEASE_SECONDS;
      // A node may say how patient others should be with it, within reason.
      const bounded = Math.min(Math.max(seconds, MIN_LEASE_SECONDS), MAX_LEASE_SECONDS);
      return Math.max(bounded * 1000, deps.minGraceMs);
    },
    async refresh(nodeName, signal) {
      const lease = await client.kind<Lease>(leaseKind).get(nodeName, NODE_LEASE_NAMESPACE, signal);
      if (lease) note(lease);
    },
    async run(signal) {
      while (!signal.aborted) {
        const isAnswering = await isServing(client, signal);
        if (isBlind || !isAnswering) blindUntil = clock.now();
        isBlind = !isAnswering;
        await pause(clock, PROBE_INTERVAL_MS, signal);
      }
    },
  };
}

async function isServing(client: ApiClient, signal: AbortSignal): Promise<boolean> {
  try {
    const { status } = await client.raw('/readyz', AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]));
    return status === 200;
  } catch {
    // Whatever it is, it was no answer.
    return false;
  }
}
