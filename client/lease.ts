// A Lease that this process keeps renewing: a heartbeat, or the address of its metrics.
import { hostname } from 'node:os';
import { leaseKind, type Lease } from '../crds/builtin.ts';
import { rfc3339Micro, type Clock } from '../lib/clock.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { RunPart } from '../lib/run-all.ts';
import type { ApiClient, KindClient } from './client.ts';
import { pause } from './pause.ts';

export const SYSTEM_NAMESPACE = 'windlass-system';
export const NODE_LEASE_NAMESPACE = 'kube-node-lease';
export const COMPONENT_LABEL = 'windlass.dev/component';
export const METRICS_ADDRESS_ANNOTATION = 'windlass.dev/metrics-address';
/** Name of the machine on which that address is one, when it is loopback. */
export const METRICS_HOST_ANNOTATION = 'windlass.dev/metrics-host';

/** Of a Lease that only tells where metrics are: nobody waits for its end, and with every node there are two more. */
const METRICS_LEASE_SECONDS = 120;

/** Of a node's Lease. */
export const DEFAULT_LEASE_SECONDS = 40;
export const MIN_LEASE_SECONDS = 2;
export const MAX_LEASE_SECONDS = 600;

export interface HeldLease {
  readonly namespace: string;
  readonly name: string;
  readonly holderIdentity: string;
  readonly leaseDurationSeconds: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The Lease by which `/metrics/targets` finds a process: `<component>-<node or machine>`. */
export function metricsLease(
  component: string,
  metricsAddress: string,
  nodeName: string,
  leaseDurationSeconds = METRICS_LEASE_SECONDS,
): HeldLease {
  return {
    namespace: SYSTEM_NAMESPACE,
    name: `${component}-${nodeName.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-')}`,
    holderIdentity: nodeName,
    leaseDurationSeconds,
    labels: { [COMPONENT_LABEL]: component },
    annotations: { [METRICS_ADDRESS_ANNOTATION]: metricsAddress, [METRICS_HOST_ANNOTATION]: hostname() },
  };
}

export interface LeaseDeps {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Writes `lease` with the present time: creates it, or takes it over whoever holds it. */
export async function renewLease(deps: Omit<LeaseDeps, 'log'>, lease: HeldLease, signal?: AbortSignal): Promise<Lease> {
  const leases = deps.client.kind<Lease>(leaseKind);
  const renewTime = rfc3339Micro(deps.clock.now());
  const { namespace, name, holderIdentity, leaseDurationSeconds, labels, annotations } = lease;
  const metadata = { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
  const spec = { holderIdentity, leaseDurationSeconds, renewTime };
  try {
    return await leases.mergePatch(name, namespace, { metadata, spec }, {}, signal);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return createOrRetry(leases, { metadata: { ...metadata, name, namespace }, spec }, signal);
}

async function createOrRetry(
  leases: KindClient<Lease>,
  lease: Pick<Lease, 'metadata' | 'spec'>,
  signal: AbortSignal | undefined,
): Promise<Lease> {
  try {
    return await leases.create(lease, signal);
  } catch (error) {
    if (!isAlreadyExists(error) && !isConflict(error)) throw error;
    return leases.mergePatch(lease.metadata.name, lease.metadata.namespace, lease, {}, signal);
  }
}

/**
 * A part that renews `lease` every quarter of its duration; a failure is retried sooner and never ends it. `onRegained` is
 * called after the first renewal by which others may have taken the Lease for run out meanwhile, or that another server
 * answered than the one before; with the time of the last failure. A server that is only slow is not told by more requests.
 */
export function createLeaseRenewer(
  deps: LeaseDeps,
  lease: HeldLease,
  onRegained?: (failedAtMs: number) => void,
): RunPart {
  const intervalMs = (lease.leaseDurationSeconds * 1000) / 4;
  return {
    name: `lease ${lease.name}`,
    async run(signal) {
      let failures = 0;
      let failedAtMs = 0;
      let renewed = { atMs: deps.clock.now(), server: deps.client.server };
      while (!signal.aborted) {
        try {
          await renewLease(deps, lease, AbortSignal.any([signal, AbortSignal.timeout(intervalMs)]));
          const { server } = deps.client;
          const hasRunOut = deps.clock.now() - renewed.atMs >= lease.leaseDurationSeconds * 1000;
          if (failures > 0 && (hasRunOut || server !== renewed.server)) onRegained?.(failedAtMs);
          renewed = { atMs: deps.clock.now(), server };
          failures = 0;
        } catch (err) {
          if (signal.aborted) return;
          failures += 1;
          failedAtMs = deps.clock.now();
          if (failures === 3) deps.log.warn({ err, lease: lease.name }, 'lease cannot be renewed');
        }
        await pause(deps.clock, failures === 0 ? intervalMs : Math.min(intervalMs, 500 * failures), signal);
      }
    },
  };
}
