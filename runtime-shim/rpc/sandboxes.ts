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
import type { SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { publishSandboxEvent } from './events.ts';
import { containersOf, getSandbox } from './lookup.ts';
import { removePidHolder } from './pid-holder.ts';
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
    const stopped: SandboxRecord = { ...(shim.store.sandboxes.get(found.id) ?? record), phase: 'stopped' };
    shim.store.sandboxes.note(stopped);
    // A container that was being created meanwhile may have made one anew, up to this moment.
    await removePidHolder(shim, found.id);
    publishSandboxEvent(shim, stopped, 'CONTAINER_STOPPED_EVENT');
  });
  // One whose creation ended in between; later ones find the sandbox stopped.
  await Promise.all(containersOf(shim, found.id).map((container) => stopRecord(shim, container.id, 0)));
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
    info: verbose ? { info: JSON.stringify(describeSandbox(record)) } : {},
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

/** What the verbose status tells of a sandbox beyond CRI's own fields. */
function describeSandbox({ directory, namespaces, networkOf, config, hostname }: SandboxRecord): object {
  const { cgroupParent, overhead, resources, sysctls } = config.linux ?? {};
  const { logDirectory, portMappings, dnsConfig } = config;
  const host = { directory, namespaces, networkOf, hostname, cgroupParent };
  return { ...host, logDirectory, portMappings, dnsConfig, sysctls, overhead, resources };
}
