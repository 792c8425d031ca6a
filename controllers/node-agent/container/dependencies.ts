// spec.dependsOn: whether the named objects have come as far as asked, on whatever node they are. Pure over the caches.
import type { Container } from '../../../crds/container.ts';
import type { ServiceFrontend } from '../../../crds/service-frontend.ts';
import { isConditionTrue } from '../../runtime/conditions.ts';
import { isControlledBy } from '../../runtime/object-key.ts';
import type { Cluster } from '../cluster.ts';
import type { Need } from './prepared.ts';

type Objects = Pick<Cluster, 'containers' | 'services'>;
type Dependency = NonNullable<Container['spec']['dependsOn']>[number];

/** Ready, or the first dependency that is not there yet. */
export function checkDependencies(cluster: Objects, container: Container): Need<object> {
  const namespace = container.metadata.namespace ?? '';
  for (const dependency of container.spec.dependsOn ?? []) {
    const { kind, name, condition } = dependency;
    const label = `${kind.toLowerCase()} "${name}"`;
    const object = find(cluster, namespace, dependency);
    if (!object) return { state: 'Waiting', reason: 'DependencyNotFound', message: `${label} not found` };
    if (has(cluster, object, condition)) continue;
    const cycle = findCycle(cluster, container);
    if (cycle) {
      const message = `dependsOn goes in a circle: ${cycle.join(' -> ')}`;
      return { state: 'Waiting', reason: 'DependencyCycle', message };
    }
    const failure = condition === 'Completed' ? failureOf(object) : undefined;
    if (failure) return { state: 'Waiting', reason: 'DependencyFailed', message: `${label} ${failure}` };
    return { state: 'Waiting', reason: 'WaitingForDependency', message: `${label} is not ${condition} yet` };
  }
  return { state: 'Ready' };
}

type Found =
  | { readonly kind: 'Container'; readonly object: Container }
  | { readonly kind: 'Service'; readonly object: ServiceFrontend };

function find({ containers, services }: Objects, namespace: string, { kind, name }: Dependency): Found | undefined {
  if (kind === 'Service') {
    const service = services.get(namespace, name);
    return service && { kind, object: service };
  }
  const container = containers.get(namespace, name);
  return container && { kind, object: container };
}

function has(cluster: Objects, found: Found, condition: Dependency['condition']): boolean {
  return found.kind === 'Service'
    ? serviceHas(cluster, found.object, condition)
    : containerHas(found.object, condition);
}

function containerHas(container: Container, condition: Dependency['condition']): boolean {
  const phase = container.status?.phase;
  if (condition === 'Completed') return phase === 'Succeeded';
  if (condition === 'Healthy') return isConditionTrue(container, 'Ready');
  return phase === 'Running' || phase === 'Paused' || phase === 'Succeeded' || phase === 'Failed';
}

// Healthy: all that are wanted are Ready; of a Job that it is complete. Started: one of them runs or ran.
function serviceHas({ containers }: Objects, service: ServiceFrontend, condition: Dependency['condition']): boolean {
  const { namespace } = service.metadata;
  if (condition === 'Completed') return service.spec.mode === 'Job' && isConditionTrue(service, 'Ready');
  if (isConditionTrue(service, 'Ready')) return true;
  if (condition === 'Healthy') return false;
  if (service.status?.isServing) return true;
  return containers
    .list(namespace)
    .some((container) => isControlledBy(container, service) && containerHas(container, 'Started'));
}

/** How what was to complete has failed; undefined when it may still complete. */
function failureOf({ kind, object }: Found): string | undefined {
  if (kind === 'Service') {
    const failed = object.status?.conditions?.find(({ type }) => type === 'Failed');
    return failed?.status === 'True' ? `failed: ${failed.message ?? ''}` : undefined;
  }
  if (object.status?.phase !== 'Failed') return undefined;
  const { exitCode } = object.status;
  return exitCode === undefined ? 'failed' : `failed with exit code ${exitCode}`;
}

/** The way from `container` over dependsOn back to itself, or to its Service; undefined when there is none. */
function findCycle(cluster: Objects, container: Container): string[] | undefined {
  const { namespace = '' } = container.metadata;
  const owner = container.metadata.ownerReferences?.find(({ kind, controller }) => kind === 'Service' && controller);
  const starts = new Set([`Container/${container.metadata.name}`, ...(owner ? [`Service/${owner.name}`] : [])]);
  const first = owner?.name ?? container.metadata.name;
  const seen = new Set<string>();
  const walk = (dependencies: readonly Dependency[], path: readonly string[]): string[] | undefined => {
    for (const dependency of dependencies) {
      const key = `${dependency.kind}/${dependency.name}`;
      if (starts.has(key)) return [...path, dependency.name];
      if (seen.has(key)) continue;
      seen.add(key);
      const next = find(cluster, namespace, dependency);
      const theirs = next?.kind === 'Service' ? next.object.spec.template.spec.dependsOn : next?.object.spec.dependsOn;
      const found = walk(theirs ?? [], [...path, dependency.name]);
      if (found) return found;
    }
    return undefined;
  };
  return walk(container.spec.dependsOn ?? [], [first]);
}
