// How the Containers of a Service come into being, whatever its mode.
import { containerKind, type Container, type ContainerSpec } from '../../crds/container.ts';
import { apiVersionOf } from '../../crds/kind.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import { isAlreadyExists, messageOf } from '../../lib/errors.ts';
import { controllerReference, isControlledBy, joinKey, NODE_FINALIZER } from '../runtime/object-key.ts';
import type { ServiceDeps } from './reconcile.ts';
import { REVISION_LABEL, SERVICE_LABEL, SLOT_LABEL } from './slots.ts';

export const PARALLEL_WRITES = 16;
/** As many as one sync of a ReplicaSet does (its BurstReplicas). */
const WRITES_PER_LOOK = 500;

export interface Child {
  readonly name: string;
  readonly slot: string;
  readonly revision: string;
  /** Labels of its template. */
  readonly templateLabels: Readonly<Record<string, string>> | undefined;
  /** Beside those of the template and those that every child has. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>> | undefined;
  readonly spec: ContainerSpec;
}

/**
 * What one look at a Service does of its plan, a bounded number of writes each: then it looks again, so that a user who
 * has second thoughts about 30,000 replicas is heard. `isCut` when something was left for the next look.
 */
export function takeTurn<C, R>(plan: {
  readonly create: readonly C[];
  readonly remove: readonly R[];
}): {
  readonly create: readonly C[];
  readonly remove: readonly R[];
  readonly isCut: boolean;
} {
  const [create, remove] = [plan.create.slice(0, WRITES_PER_LOOK), plan.remove.slice(0, WRITES_PER_LOOK)];
  return { create, remove, isCut: create.length < plan.create.length || remove.length < plan.remove.length };
}

/** Whether the Container `name` exists and is not the Service's, as far as the cache knows. */
export function isForeign({ containers }: Pick<ServiceDeps, 'containers'>, service: Service, name: string): boolean {
  const existing = containers.get(joinKey(service.metadata.namespace, name));
  return existing !== undefined && !isControlledBy(existing, service);
}

/** Creates the Container, bound where the scheduler has a place for it; false when the name belongs to somebody else. */
export async function createChild(
  { client, events, findPlace }: Pick<ServiceDeps, 'client' | 'events' | 'findPlace'>,
  service: Service,
  { name, slot, revision, templateLabels, labels, annotations, spec }: Child,
  signal: AbortSignal,
): Promise<boolean> {
  const containers = client.kind(containerKind);
  const draft: Container = {
    apiVersion: apiVersionOf(containerKind),
    kind: containerKind.kind,
    metadata: {
      name,
      namespace: service.metadata.namespace ?? '',
      labels: {
        ...templateLabels,
        [SERVICE_LABEL]: service.metadata.name,
        [SLOT_LABEL]: slot,
        [REVISION_LABEL]: revision,
        ...labels,
      },
      ...(annotations ? { annotations } : {}),
      ownerReferences: [controllerReference(serviceKind, service)],
    },
    spec,
  };
  const place = findPlace(draft);
  let created: Container | undefined;
  try {
    created = await containers.create(place ? boundTo(draft, place.nodeName) : draft, signal);
  } catch (error) {
    if (!isAlreadyExists(error)) {
      const message = `cannot create Container ${name}: ${messageOf(error)}`;
      events.record(service, { type: 'Warning', reason: 'FailedCreate', message });
      throw error;
    }
    // The cache may not show yet what an earlier run made; only the server knows whose it is.
    const existing = await containers.get(name, service.metadata.namespace, signal);
    return existing === undefined || isControlledBy(existing, service);
  } finally {
    place?.settle(created);
  }
  const where = place ? ` on node ${place.nodeName}` : '';
  events.record(service, { type: 'Normal', reason: 'SuccessfulCreate', message: `created Container ${name}${where}` });
  return true;
}

/** As the scheduler binds: from here on there may be something on a host to clean up. */
const boundTo = (draft: Container, nodeName: string): Container => ({
  ...draft,
  metadata: { ...draft.metadata, finalizers: [NODE_FINALIZER] },
  spec: { ...draft.spec, nodeName },
});
