// Acts on the plan of a Service: creates and removes its Containers, then says how far it is.
import type { ApiClient } from '../../client/client.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, TerminalError } from '../../lib/errors.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition, setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import { createChild, isForeign, PARALLEL_WRITES } from './create-child.ts';
import { reconcileJob } from './job-reconcile.ts';
import { nextHealed, planReplicas, type Creation, type Removal } from './plan.ts';
import { planPublishedPorts } from './published-ports.ts';
import { hashTemplate } from './revision.ts';
import { reconcileSchedule } from './schedule-reconcile.ts';
import { HEALED_ANNOTATION, SERVICE_LABEL, slotOf } from './slots.ts';
import { planStatus } from './status.ts';
import { findUnsupportedField } from './unsupported.ts';
import type { VirtualIpAllocator } from './virtual-ips.ts';

export interface ServiceDeps {
  readonly client: ApiClient;
  readonly services: Cache<Service>;
  readonly containers: Cache<Container>;
  /** Containers by the UID of the Service that controls them. */
  readonly childrenOf: Index<Container>;
  /** Services by the UID of the Service whose schedule started them. */
  readonly runsOf: Index<Service>;
  readonly virtualIps: VirtualIpAllocator;
  /**
   * Failures in a row by UID of the Service and slot, so that the successor of a failed Container knows them. Lost on a
   * restart of this process, which only makes the next try come sooner.
   */
  readonly healed: Map<string, Map<number, number>>;
  /** Services by portKeysOf(). */
  readonly servicesByPort: Index<Service>;
  readonly events: Events;
  readonly clock: Clock;
}

/** Keeps one Service's Containers as its spec says. */
export function createServiceReconciler(deps: ServiceDeps): Reconcile {
  const { clock, events } = deps;
  const containers = deps.client.kind(containerKind);
  const services = deps.client.kind(serviceKind);
  const { healed } = deps;

  async function create(
    service: Service,
    { name, slot }: Creation,
    revision: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { template } = service.spec;
    const count = healed.get(service.metadata.uid ?? '')?.get(slot) ?? 0;
    const annotations = {
      ...template.metadata?.annotations,
      ...(count > 0 ? { [HEALED_ANNOTATION]: String(count) } : {}),
    };
    return createChild(deps, service, { name, slot, revision, annotations, spec: template.spec }, signal);
  }

  async function remove(service: Service, { container, why }: Removal, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid } = container.metadata;
    const slot = slotOf(container);
    if (why === 'Failed' && slot !== undefined) {
      const ofService = healed.get(service.metadata.uid ?? '') ?? new Map<number, number>();
      healed.set(service.metadata.uid ?? '', ofService.set(slot, nextHealed(container)));
    }
    await containers.delete(
      name,
      namespace,
      { ...(uid === undefined ? {} : { uid }), propagationPolicy: 'Background' },
      signal,
    );
    const texts = {
      ScaledDown: `deleted Container ${name}: only ${service.spec.replicas} wanted`,
      Updated: `deleted Container ${name}: the template has changed`,
      Failed: `deleted Container ${name} (${container.status?.reason ?? 'Failed'}, exit code ${container.status?.exitCode ?? 'unknown'}) to create it anew`,
      Superfluous: `deleted Container ${name}: its slot has another one`,
    };
    events.record(service, {
      type: why === 'Failed' ? 'Warning' : 'Normal',
      reason: 'SuccessfulDelete',
      message: texts[why],
    });
  }

  return async (key, { signal }) => {
    const service = deps.services.get(key);
    if (!service || isDeleting(service)) return {};
    const unsupported = findUnsupportedField(service);
    if (unsupported) throw new TerminalError('NotSupported', `${unsupported} is not supported by this version`);
    if (service.spec.mode === 'Job') {
      return service.spec.schedule ? reconcileSchedule(deps, service, signal) : reconcileJob(deps, service, signal);
    }

    const { uid = '' } = service.metadata;
    const revision = hashTemplate(service.spec.template);
    const now = clock.now();
    const children = deps.childrenOf.get(uid);
    const plan = planReplicas({
      service,
      children,
      revision,
      now,
      isForeign: (name) => isForeign(deps, service, name),
    });
    const conflicts = [...plan.conflicts];
    await forEachLimit(plan.remove, PARALLEL_WRITES, (removal) => remove(service, removal, signal));
    await forEachLimit(plan.create, PARALLEL_WRITES, async (creation) => {
      if (!(await create(service, creation, revision, signal))) conflicts.push(creation.name);
    });
    const ofService = healed.get(uid);
    for (const child of ofService ? children : []) {
      const slot = slotOf(child) ?? 0;
      if (child.metadata.annotations?.[HEALED_ANNOTATION] === String(ofService?.get(slot))) ofService?.delete(slot);
    }

    const published = planPublishedPorts(service, (port) => deps.servicesByPort.get(port));
    const { status, lookAgainMs } = planStatus({
      service,
      children,
      revision,
      conflicts,
      virtualIPs: deps.virtualIps.allocate(service),
      published,
      now,
    });
    const before = service.status?.conditions?.find(({ type }) => type === 'Progressing');
    await writeStatus(services, service, status, signal);
    const after = status.conditions?.find(({ type }) => type === 'Progressing');
    if (after && after.reason !== before?.reason && (after.reason === 'NameConflict' || after.reason === 'Complete')) {
      events.record(service, {
        type: after.status === 'True' ? 'Normal' : 'Warning',
        reason: after.reason,
        message: after.message,
      });
    }
    const hadConflict = findCondition(service, 'Ready')?.reason === 'PortConflict';
    if (published.conflicts.length > 0 && !hadConflict) {
      events.record(service, { type: 'Warning', reason: 'PortConflict', message: published.conflicts.join(', ') });
    }
    const waits = [plan.requeueAfterMs, lookAgainMs].filter((wait) => wait !== undefined);
    return waits.length === 0 ? {} : { requeueAfterMs: Math.max(1, Math.min(...waits)) };
  };
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
