// `volumesFrom`: what other Containers mount from the host, mounted by this one too. Pure over the caches.
import type { Container, ContainerStatus } from '../../../crds/container.ts';
import type { Lister } from '../cluster.ts';
import { specHash } from '../container/spec-hash.ts';
import { ownMounts } from './mount-list.ts';
import type { MountNeed, OneMount } from './prepare-mounts.ts';
import { anonymousVolumeName } from './volume-paths.ts';

type Mounted = NonNullable<ContainerStatus['mounts']>[number];

/**
 * One need per mount of the named Containers, unless `container` mounts something at that path itself. A Container
 * that is gone is no loss to who has its volumes already: they are those of the run before, as with Docker.
 */
export function borrowMounts(
  containers: Pick<Lister<Container>, 'get'>,
  container: Container,
  volumesRoot: string,
): MountNeed[] {
  const { name, namespace = '' } = container.metadata;
  const taken = new Set(ownMounts(container).map(({ mountPath }) => mountPath));
  const needs: MountNeed[] = [];
  for (const { container: lender, readOnly } of container.spec.volumesFrom ?? []) {
    const other = containers.get(namespace, lender);
    const lent = other ? other.status?.mounts : borrowedBefore(container);
    if (!lent) {
      const message = other
        ? `container "${lender}" has not mounted its volumes yet`
        : `container "${lender}", whose volumes ${name} is to use, not found`;
      return [{ state: 'Waiting', reason: 'VolumesFromNotReady', message }];
    }
    for (const mounted of lent) {
      if (!isLendable(mounted) || taken.has(mounted.mountPath)) continue;
      taken.add(mounted.mountPath);
      const isReadOnly = readOnly || mounted.readOnly === true;
      needs.push({
        state: 'Ready',
        mount: { containerPath: mounted.mountPath, hostPath: mounted.source, readonly: isReadOnly },
        // It was resolved when the other was made; those who have the volume could write there since.
        noFollow: mounted.source.startsWith(`${volumesRoot}/`),
        report: { ...mounted, readOnly: isReadOnly } as OneMount['report'],
      });
    }
  }
  return needs;
}

const isLendable = (mounted: Mounted): mounted is Mounted & { source: string } =>
  mounted.source !== undefined && ['Volume', 'Anonymous', 'HostPath'].includes(mounted.type);

/** What a run of the same spec had mounted beyond its own; undefined when there was none. */
function borrowedBefore({ metadata, spec, status }: Container): readonly Mounted[] | undefined {
  if (status?.specHash !== specHash(spec)) return undefined;
  const { name, uid = '' } = metadata;
  const borrowed = status.mounts?.filter(
    (mounted) => mounted.name !== anonymousVolumeName(name, uid, mounted.mountPath),
  );
  return borrowed?.length ? borrowed : undefined;
}
