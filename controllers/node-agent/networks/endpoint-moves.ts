// What a node knows of its own endpoints before the cluster does, and what their going means. Pure but for the memory.
import type { Container } from '../../../crds/container.ts';
import { isConditionTrue } from '../../runtime/conditions.ts';
import type { Cluster } from '../cluster.ts';
import { placedIn, SERVICE_LABEL, serviceOf, type Placed } from './service-tables.ts';

export interface Admissions {
  /**
   * Remembers that the Container of this node is Ready, or forgets it; true when the tables may change by it: it is news
   * to the cluster, or is taken back before the cluster heard of it.
   */
  note(container: Container, cached: Pick<Cluster['containers'], 'get'>): boolean;
  /** The Containers as the cluster has them, with what is known here already. */
  apply(containers: readonly Placed[]): readonly Placed[];
}

/** Remembers until the cluster says the same. */
export function createAdmissions(): Admissions {
  const ready = new Map<string, Container>();
  return {
    note(container, cached) {
      const { uid = '', name, namespace = '' } = container.metadata;
      const known = cached.get(namespace, name);
      const isKnown = known?.metadata.uid === uid && isConditionTrue(known, 'Ready');
      if (!isMember(container) || !isConditionTrue(container, 'Ready') || isKnown) return ready.delete(uid) && !isKnown;
      ready.set(uid, container);
      return true;
    },
    apply(containers) {
      if (ready.size === 0) return containers;
      const left = new Set(ready.keys());
      const merged = containers.map((container) => {
        const own = ready.get(container.metadata.uid ?? '');
        if (!own || isConditionTrue(container, 'Ready')) return container;
        left.delete(container.metadata.uid ?? '');
        // Its node is this one: what is known here is the whole Container.
        return { ...own, metadata: container.metadata };
      });
      // The rest is known by now, or gone.
      for (const uid of left) ready.delete(uid);
      return merged;
    },
  };
}

/** Whether the Container is labelled as one of a Service. */
export const isMember = ({ metadata }: Container): boolean => metadata.labels?.[SERVICE_LABEL] !== undefined;

/** Whether its Service goes on without it: another of its Containers is Ready, on whatever node, and it has ports. */
export function hasSuccessor(
  cluster: Pick<Cluster, 'services' | 'containers' | 'endpoints'>,
  nodeName: string,
  container: Container,
): boolean {
  const id = serviceOf(container);
  const { namespace = '', uid } = container.metadata;
  const service = cluster.services.get(namespace, container.metadata.labels?.[SERVICE_LABEL] ?? '');
  if (id === undefined || !service || service.metadata.deletionTimestamp !== undefined) return false;
  if ((service.spec.ports ?? []).length === 0) return false;
  return placedIn(cluster, nodeName).some(
    (other) =>
      other.metadata.uid !== uid &&
      other.metadata.deletionTimestamp === undefined &&
      serviceOf(other) === id &&
      isConditionTrue(other, 'Ready'),
  );
}
