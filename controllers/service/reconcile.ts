// Looks at one Service and hands it to what its mode asks for.
import type { ApiClient } from '../../client/client.ts';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, TerminalError } from '../../lib/errors.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import type { FindPlace } from '../scheduler/place.ts';
import { reconcileJob } from './job-reconcile.ts';
import { reconcileReplicas } from './replicas-reconcile.ts';
import { reconcileSchedule } from './schedule-reconcile.ts';
import { SERVICE_LABEL } from './slots.ts';
import { findUnsupportedField } from './unsupported.ts';
import type { VirtualIpAllocator } from './virtual-ips.ts';

export interface ServiceDeps {
  readonly client: ApiClient;
  readonly services: Cache<Service>;
  readonly containers: Cache<Container>;
  readonly nodes: Pick<Cache<Node>, 'list'>;
  /** Containers by the UID of the Service that controls them. */
  readonly childrenOf: Index<Container>;
  /** Services by the UID of the Service whose schedule started them. */
  readonly runsOf: Index<Service>;
  readonly virtualIps: VirtualIpAllocator;
  /**
   * Failures in a row by UID of the Service, then slot and revision, so that the successor of a failed Container knows
   * them. Lost on a restart of this process, which only makes the next try come sooner.
   */
  readonly healed: Map<string, Map<string, number>>;
  /** By UID: what was last written of a Service's update, until the cache shows it. */
  readonly written: Map<string, Service>;
  /** By UID: when the status was written last. */
  readonly writtenAt: Map<string, number>;
  /** Services by portKeysOf(). */
  readonly servicesByPort: Index<Service>;
  /** Nodes by the Services whose ports somebody else has there. */
  readonly nodesInConflict: Index<Node>;
  /** Where a Container can go that is about to be created. */
  readonly findPlace: FindPlace;
  readonly events: Events;
  readonly clock: Clock;
}

/** Keeps one Service's Containers as its spec says. */
export function createServiceReconciler(deps: ServiceDeps): Reconcile {
  return async (key, { signal }) => {
    const service = deps.services.get(key);
    if (!service || isDeleting(service)) return {};
    checkService(service);
    if (service.spec.mode !== 'Job') return reconcileReplicas(deps, service, signal);
    return service.spec.schedule ? reconcileSchedule(deps, service, signal) : reconcileJob(deps, service, signal);
  };
}

/** Longest value of a label. */
const LONGEST_NAME = 63;

function checkService(service: Service): void {
  const unsupported = findUnsupportedField(service);
  if (unsupported) throw new TerminalError('NotSupported', `${unsupported} is not supported by this version`);
  const { name } = service.metadata;
  if (name.length > LONGEST_NAME) {
    const message = `metadata.name: ${name} has ${name.length} characters: a Service may have ${LONGEST_NAME}`;
    throw new TerminalError('InvalidName', message);
  }
}

/** Says in the Service why it is given up on. */
export async function writeServiceRefusal(
  deps: ServiceDeps,
  key: string,
  error: TerminalError,
  signal: AbortSignal,
): Promise<void> {
  const service = deps.services.get(key);
  if (!service) return;
  const refusal = { status: 'False', reason: error.conditionReason, message: messageOf(error) } as const;
  const status = {
    observedGeneration: service.metadata.generation,
    selector: `${SERVICE_LABEL}=${service.metadata.name}`,
    conditions: setConditions(
      service.status?.conditions,
      [
        { type: 'Progressing', ...refusal },
        { type: 'Ready', ...refusal },
      ],
      { now: deps.clock.now(), generation: service.metadata.generation },
    ),
  };
  if (await writeStatus(deps.client.kind(serviceKind), service, status, signal)) {
    deps.events.record(service, { type: 'Warning', reason: refusal.reason, message: refusal.message });
  }
}
