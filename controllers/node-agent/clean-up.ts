// What a deleted Container leaves on the host beside the runtime: log files, projected files, anonymous volumes, ids.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { KindClient } from '../../client/client.ts';
import type { Container } from '../../crds/container.ts';
import type { Volume } from '../../crds/volume.ts';
import { logDirectoryName, namesIn } from './logs/log-files.ts';
import type { UserRanges } from './users/user-ranges.ts';
import { ANONYMOUS_LABEL, CONTAINER_UID_LABEL, type VolumeRoots } from './volumes/volume-paths.ts';

export interface CleanUpDeps {
  readonly volumes: Pick<KindClient<Volume>, 'list' | 'delete'>;
  readonly roots: VolumeRoots;
  readonly podLogs: string;
  readonly userRanges: Pick<UserRanges, 'release' | 'keepOnly'>;
}

/** Removes it all; succeeds when nothing is there. */
export async function cleanUpContainer(deps: CleanUpDeps, container: Container, signal: AbortSignal): Promise<void> {
  const { name, namespace = '', uid = '' } = container.metadata;
  if (uid === '') return;
  const logs = join(deps.podLogs, logDirectoryName(namespace, name, uid));
  const removed = [logs, join(deps.roots.projected, uid)].map((path) => rm(path, { recursive: true, force: true }));
  await Promise.all(removed);
  deps.userRanges.release(uid);
  const mayHaveAnonymous = container.status?.mounts?.some(({ type }) => type === 'Anonymous') ?? false;
  if (container.spec.anonymousVolumes !== 'Delete' || !mayHaveAnonymous) return;
  const labelSelector = `${ANONYMOUS_LABEL}=true,${CONTAINER_UID_LABEL}=${uid}`;
  const { items } = await deps.volumes.list({ namespace, labelSelector }, signal);
  for (const volume of items) await deps.volumes.delete(volume.metadata.name, namespace, {}, signal);
}

/** Log and projected folders, and ranges of user ids, of Containers that are gone (deleted while the agent was away). */
export async function removeStrayFolders(deps: CleanUpDeps, knownUids: ReadonlySet<string>): Promise<void> {
  deps.userRanges.keepOnly(knownUids);
  for (const name of await namesIn(deps.podLogs)) {
    const uid = name.slice(name.lastIndexOf('_') + 1);
    if (!knownUids.has(uid)) await rm(join(deps.podLogs, name), { recursive: true, force: true });
  }
  for (const uid of await namesIn(deps.roots.projected)) {
    if (!knownUids.has(uid)) await rm(join(deps.roots.projected, uid), { recursive: true, force: true });
  }
}
