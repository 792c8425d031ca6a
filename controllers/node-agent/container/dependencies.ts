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
    if (isMet) continue;
    const cycle = kind === 'Container' ? findCycle(cluster, container) : undefined;
    if (cycle) {
      return {
        state: 'Waiting',
        reason: 'DependencyCycle',
        message: `dependsOn goes in a circle: ${cycle.join(' -> ')}`,
      };
    }
    if (condition === 'Completed' && kind === 'Container' && (object as Container).status?.phase === 'Failed') {
      const { exitCode } = (object as Container).status ?? {};
      const how = exitCode === undefined ? 'failed' : `failed with exit code ${exitCode}`;
      return { state: 'Waiting', reason: 'DependencyFailed', message: `${label} ${how}` };
    }
    return { state: 'Waiting', reason: 'WaitingForDependency', message: `${label} is not ${condition} yet` };
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

/** The way from `container` over dependsOn back to itself; undefined when there is none. */
function findCycle({ containers }: Pick<Cluster, 'containers'>, container: Container): string[] | undefined {
  const { name: start, namespace = '' } = container.metadata;
  const seen = new Set<string>();
  const walk = ({ spec }: Container, path: readonly string[]): string[] | undefined => {
    for (const { kind, name } of spec.dependsOn ?? []) {
      if (kind !== 'Container') continue;
      if (name === start) return [...path, start];
      const next = seen.has(name) ? undefined : containers.get(namespace, name);
      seen.add(name);
      const found = next && walk(next, [...path, name]);
      if (found) return found;
    }
    return undefined;
  };
  return walk(container, [start]);
}
