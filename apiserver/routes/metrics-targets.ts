// GET /metrics/targets: where Prometheus finds every process, in the form of its HTTP service discovery.
// https://prometheus.io/docs/prometheus/latest/http_sd/
import { hostname } from 'node:os';
import { isUnavailable } from '../../lib/errors.ts';
import type { ApiDeps } from './call.ts';

const LEASES = { group: 'coordination.k8s.io', plural: 'leases' } as const;
const COMPONENT = 'windlass.dev/component';
const ADDRESS = 'windlass.dev/metrics-address';
const HOST = 'windlass.dev/metrics-host';

export interface Target {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

interface LeaseSpec {
  readonly renewTime?: string;
  readonly leaseDurationSeconds?: number;
  readonly holderIdentity?: string;
}

/**
 * This server, its etcd, and every component that renews its Lease, but those that listen at loopback of another machine: there is
 * nobody here who answers for them.
 */
export async function metricsTargets(
  deps: Pick<ApiDeps, 'store' | 'clock'> & {
    readonly ownAddress: () => string;
    readonly etcdMetrics: string | undefined;
    /** Name of this machine, unless it is what the kernel says. */
    readonly host?: string;
  },
): Promise<Target[]> {
  const targets: Target[] = [
    { targets: [deps.ownAddress()], labels: { job: 'apiserver', component: 'apiserver', __scheme__: 'https' } },
  ];
  if (deps.etcdMetrics) {
    targets.push({ targets: [deps.etcdMetrics], labels: { job: 'etcd', component: 'etcd', __scheme__: 'http' } });
  }
  try {
    const { entries } = await deps.store.list(LEASES, { namespace: 'windlass-system', revision: 0 });
    for (const { object } of entries) {
      const component = object.metadata.labels?.[COMPONENT];
      const address = object.metadata.annotations?.[ADDRESS];
      if (!component || !address || isStale(object['spec'] as LeaseSpec | undefined, deps.clock.now())) continue;
      if (!isReachableFrom(deps.host ?? hostname(), address, object.metadata.annotations?.[HOST])) continue;
      const labels = { job: component, component, __scheme__: 'http', lease: object.metadata.name };
      targets.push({ targets: [address], labels });
    }
  } catch (error) {
    // Without the store this server still says where it is itself.
    if (!isUnavailable(error)) throw error;
  }
  return targets;
}

const isReachableFrom = (own: string, address: string, host: string | undefined): boolean =>
  host === undefined || host === own || !/^(127\.|\[::1\]|localhost:)/.test(address);

/** A process that is gone leaves its Lease; it is no target any more once that has run out. */
function isStale(spec: LeaseSpec | undefined, now: number): boolean {
  if (!spec?.renewTime) return false;
  return now - Date.parse(spec.renewTime) > (spec.leaseDurationSeconds ?? 120) * 1_000;
}
