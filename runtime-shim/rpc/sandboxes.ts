// StopPodSandbox, RemovePodSandbox, PodSandboxStatus and ListPodSandbox.
import type {
  Draft,
  ListPodSandboxRequest,
  ListPodSandboxResponse,
  PodSandboxId,
  PodSandboxStatusRequest,
  PodSandboxStatusResponse,
} from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { Shim } from './deps.ts';
import { containersOf, getSandbox } from './lookup.ts';
import { selectSandboxes } from './select.ts';
import { nanoseconds, toContainerStatus, toSandbox, toSandboxStatus } from './status-messages.ts';
import { stopRecord } from './stop-container.ts';
import { releaseSandbox, teardownSandbox } from './teardown.ts';

/** Kills the containers and frees address, ports and namespaces; unknown or stopped = success. */
export async function stopPodSandbox(shim: Shim, { podSandboxId }: PodSandboxId): Promise<object> {
  const found = shim.store.sandboxes.find(requireField(podSandboxId, 'pod_sandbox_id'));
  if (!found) return {};
  await Promise.all(containersOf(shim, found.id).map((container) => stopRecord(shim, container.id, 0)));
  await shim.queue.run(found.id, async () => {
    const record = shim.store.sandboxes.get(found.id);
    if (!record || record.phase === 'stopped') return;
    await releaseSandbox(shim, record);
    shim.store.sandboxes.save({ ...record, phase: 'stopped' });
  });
  return {};
}

/** Removes the sandbox and everything in it; unknown = success. */
export async function removePodSandbox(shim: Shim, { podSandboxId }: PodSandboxId): Promise<object> {
  const record = shim.store.sandboxes.find(requireField(podSandboxId, 'pod_sandbox_id'));
  if (record) await shim.queue.run(record.id, () => teardownSandbox(shim, record.id));
  return {};
}

export async function podSandboxStatus(
  shim: Shim,
  { podSandboxId, verbose }: PodSandboxStatusRequest,
): Promise<Draft<PodSandboxStatusResponse>> {
  const record = getSandbox(shim, podSandboxId);
  return {
    status: toSandboxStatus(shim, record),
    info: verbose ? { info: JSON.stringify({ directory: record.directory, namespaces: record.namespaces }) } : {},
    containersStatuses: containersOf(shim, record.id)
      .filter(({ phase }) => phase !== 'creating' && phase !== 'removing')
      .map(toContainerStatus),
    timestamp: nanoseconds(shim.clock.now()),
  };
}

export async function listPodSandbox(
  shim: Shim,
  { filter }: ListPodSandboxRequest,
): Promise<Draft<ListPodSandboxResponse>> {
  return { items: selectSandboxes(shim, filter).map(toSandbox) };
}
