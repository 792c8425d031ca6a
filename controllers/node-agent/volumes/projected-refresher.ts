// Brings changed ConfigMaps and Secrets into the files of running containers, and learns once what their environment was
// read from: one that an agent before this one started can be started again while the API server is away.
import type { Container } from '../../../crds/container.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { envSourcesOf } from '../container/prepare.ts';
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
  let learnt: ReadonlySet<string> = new Set();
  return {
    name: 'projected files',
    async run(signal) {
      while (!signal.aborted) {
        await deps.clock.sleep(REFRESH_EVERY_MS, signal).catch(() => undefined);
        // Each object is asked for once per round, however many containers show it.
        const cluster = {
          ...deps.cluster,
          secret: onceEach(deps.cluster.secret),
          configMap: onceEach(deps.cluster.configMap),
        };
        const running = signal.aborted ? [] : deps.running();
        const found = new Set<string>();
        for (const container of running) {
          const { uid = '' } = container.metadata;
          if (learnt.has(uid) || (await learnEnv(cluster, container, signal))) found.add(uid);
          for (const mount of container.spec.mounts ?? []) {
            if (!mount.configMap && !mount.secret) continue;
            const own = { ...mount, mountPath: cleanMountPath(mount.mountPath) };
            await writeProjected({ ...deps, cluster }, container, own, signal).catch((err: unknown) => {
              if (!signal.aborted)
                deps.log.debug({ err, container: container.metadata.name }, 'failed to refresh files');
            });
          }
        }
        learnt = found;
      }
    },
  };
}

/** Asks for it, so that it is known; false when that failed. */
async function learnEnv(
  cluster: ProjectedRefresherDeps['cluster'],
  { metadata: { namespace = '' }, spec }: Container,
  signal: AbortSignal,
): Promise<boolean> {
  const { secrets, configMaps } = envSourcesOf(spec);
  try {
    for (const name of secrets) await cluster.secret(namespace, name, signal);
    for (const name of configMaps) await cluster.configMap(namespace, name, signal);
    return true;
  } catch {
    // The server is away: there is another round.
    return false;
  }
}

function onceEach<T>(
  get: (namespace: string, name: string, signal: AbortSignal) => Promise<T>,
): (namespace: string, name: string, signal: AbortSignal) => Promise<T> {
  const asked = new Map<string, Promise<T>>();
  return (namespace, name, signal) => {
    const key = `${namespace}/${name}`;
    const answer = asked.get(key) ?? get(namespace, name, signal);
    asked.set(key, answer);
    return answer;
  };
}
