// updateStrategy with its defaults, and the order that is possible: StartFirst needs room for two Containers of a slot.
import type { Service, UpdateStrategy } from '../../crds/service.ts';

const DEFAULT_STRATEGY: UpdateStrategy = {
  parallelism: 1,
  delaySeconds: 0,
  order: 'StopFirst',
  failureAction: 'Pause',
  monitorSeconds: 5,
  maxFailurePercent: 0,
};

export const strategyOf = (service: Service): UpdateStrategy => ({
  ...DEFAULT_STRATEGY,
  ...service.spec.updateStrategy,
});

export interface UpdateOrder {
  readonly order: UpdateStrategy['order'];
  /** Why StartFirst is not what it is. */
  readonly because?: string;
}

/**
 * The order in which a slot's Containers follow each other. What only one Container can hold is never held by two: the
 * volume of a slot, one that is written to by one replica, and on one node a port of the node.
 */
export function orderOf(service: Service): UpdateOrder {
  const { order } = strategyOf(service);
  const { mode, replicas, template } = service.spec;
  if (order === 'StopFirst') return { order };
  const [own] = service.spec.volumeTemplates ?? [];
  if (own) {
    return {
      order: 'StopFirst',
      because: `StartFirst works as StopFirst, as the volume ${own.name} of a slot is held by one container at a time`,
    };
  }
  if (mode === 'Global' || replicas <= 1) {
    const mount = template.spec.mounts?.find(({ volume, readOnly }) => volume !== undefined && !readOnly);
    if (mount) {
      return {
        order: 'StopFirst',
        because: `StartFirst works as StopFirst, as volume ${mount.volume ?? ''} is held by one container at a time`,
      };
    }
  }
  const hostPort = mode === 'Global' ? template.spec.ports?.find(({ hostPort: port }) => port) : undefined;
  if (hostPort) {
    return {
      order: 'StopFirst',
      because: `StartFirst works as StopFirst, as port ${hostPort.hostPort ?? ''} of a node is held by one container at a time`,
    };
  }
  return { order };
}
