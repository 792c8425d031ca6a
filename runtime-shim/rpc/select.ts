// Which records a filter of CRI means. An id may be the beginning of one, as people type it.
import type { ListContainersRequest, ListPodSandboxRequest } from '../../cri/messages.ts';
import type { ListContainerStatsRequest, ListPodSandboxStatsRequest } from '../../cri/stats-messages.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { matchesLabels } from './lookup.ts';
import { containerState, sandboxState } from './status-messages.ts';

/** Half-made sandboxes are listed too, as not ready: whoever cleans up must see them. */
export function selectSandboxes(shim: Shim, filter: ListPodSandboxRequest['filter']): SandboxRecord[] {
  return shim.store.sandboxes
    .list()
    .filter(
      (record) =>
        (!filter?.id || record.id.startsWith(filter.id)) &&
        (!filter?.state || sandboxState(record) === filter.state.state) &&
        matchesLabels(record.config.labels, filter?.labelSelector ?? {}),
    );
}

export function selectContainers(shim: Shim, filter: ListContainersRequest['filter']): ContainerRecord[] {
  return shim.store.containers
    .list()
    .filter(
      (record) =>
        (!filter?.id || record.id.startsWith(filter.id)) &&
        (!filter?.podSandboxId || record.sandboxId.startsWith(filter.podSandboxId)) &&
        (!filter?.state || containerState(record) === filter.state.state) &&
        matchesLabels(record.config.labels, filter?.labelSelector ?? {}),
    );
}

/** Those that can be measured: running ones. */
export function selectRunning(shim: Shim, filter: ListContainerStatsRequest['filter']): ContainerRecord[] {
  return selectContainers(shim, filter ? { ...filter, state: null } : null).filter(({ phase }) => phase === 'running');
}

/** Those that can be measured: ready ones. */
export function selectReady(shim: Shim, filter: ListPodSandboxStatsRequest['filter']): SandboxRecord[] {
  return selectSandboxes(shim, filter ? { ...filter, state: null } : null).filter(({ phase }) => phase === 'ready');
}
