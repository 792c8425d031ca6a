// Brings changed ConfigMaps and Secrets into the files of running containers.
import type { Container } from '../../../crds/container.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { cleanMountPath } from './mount-list.ts';
import { writeProjected, type PrepareMountsDeps } from './prepare-mounts.ts';

const REFRESH_EVERY_MS = 10_000;

export interface ProjectedRefresherDeps extends Pick<PrepareMountsDeps, 'cluster' | 'store'> {
  /** Containers of this node that run. */
  readonly running: () => readonly Container[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** The part that refreshes. An object that is gone leaves the files as they are. */
export function createProjectedRefresher(deps: ProjectedRefresherDeps): RunPart {
  return {
    name: 'projected files',
    async run(signal) {
      while (!signal.aborted) {
        await deps.clock.sleep(REFRESH_EVERY_MS, signal).catch(() => undefined);
        for (const container of signal.aborted ? [] : deps.running()) {
          for (const mount of container.spec.mounts ?? []) {
            if (!mount.configMap && !mount.secret) continue;
            const own = { ...mount, mountPath: cleanMountPath(mount.mountPath) };
            await writeProjected(deps, container, own, signal).catch((err: unknown) => {
              if (!signal.aborted)
                deps.log.debug({ err, container: container.metadata.name }, 'failed to refresh files');
            });
          }
        }
      }
    },
  };
}
