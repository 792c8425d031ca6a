// spec.dependsOn: whether the named objects have come as far as asked. Pure over the caches.
import type { Container } from '../../../crds/container.ts';
import type { Service } from '../../../crds/service.ts';
import { isConditionTrue } from '../../runtime/conditions.ts';
import type { Cluster } from '../cluster.ts';
import type { Need } from './prepared.ts';

/** Ready, or the first dependency that is not there yet. */
export function checkDependencies(
  cluster: Pick<Cluster, 'containers' | 'services'>,
  container: Container,
): Need<object> {
  const namespace = container.metadata.namespace ?? '';
  for (const { kind, name, condition } of container.spec.dependsOn ?? []) {
    const object = kind === 'Service' ? cluster.services.get(namespace, name) : cluster.containers.get(namespace, name);
    const label = `${kind.toLowerCase()} "${name}"`;
    if (!object) return { state: 'Waiting', reason: 'DependencyNotFound', message: `${label} not found` };
    const isMet =
      kind === 'Service' ? serviceHas(object as Service, condition) : containerHas(object as Container, condition);
    if (!isMet) {
      return { state: 'Waiting', reason: 'WaitingForDependency', message: `${label} is not ${condition} yet` };
    }
  }
  return { state: 'Ready' };
}

function containerHas(container: Container, condition: string): boolean {
  const phase = container.status?.phase;
  if (condition === 'Completed') return phase === 'Succeeded';
  if (condition === 'Healthy') return isConditionTrue(container, 'Ready');
  return phase === 'Running' || phase === 'Paused' || phase === 'Succeeded' || phase === 'Failed';
}

function serviceHas(service: Service, condition: string): boolean {
  if (condition === 'Started') return (service.status?.readyReplicas ?? 0) > 0 || isConditionTrue(service, 'Ready');
  if (condition === 'Completed' && service.spec.mode !== 'Job') return false;
  return isConditionTrue(service, 'Ready');
}
