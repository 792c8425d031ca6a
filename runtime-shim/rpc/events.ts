// Container events as CRI tells them: with the full state of the sandbox and its containers at that moment. A sandbox
// counts as a container of its own id, as it does with CRI-O and containerd: a kubelet learns of its end that way.
import type { ContainerEventType } from '../../cri/stats-messages.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { containersOf } from './lookup.ts';
import { nanoseconds, toContainerStatus, toSandboxStatus } from './status-messages.ts';

/** Tells every reader of GetContainerEvents what happened to the container. */
export function publishEvent(shim: Shim, record: ContainerRecord, containerEventType: ContainerEventType): void {
  const sandbox = shim.store.sandboxes.get(record.sandboxId);
  publish(shim, record.id, record.sandboxId, sandbox, containerEventType);
}

/** Tells the same of a sandbox, `record` being what it is after the change. */
export function publishSandboxEvent(shim: Shim, record: SandboxRecord, containerEventType: ContainerEventType): void {
  publish(shim, record.id, record.id, record, containerEventType);
}

function publish(
  shim: Shim,
  containerId: string,
  sandboxId: string,
  sandbox: SandboxRecord | undefined,
  containerEventType: ContainerEventType,
): void {
  shim.events.publish({
    containerId,
    containerEventType,
    createdAt: nanoseconds(shim.clock.now()),
    podSandboxStatus: sandbox ? toSandboxStatus(shim, sandbox) : null,
    containersStatuses: containersOf(shim, sandboxId)
      .filter(({ phase }) => phase !== 'creating' && phase !== 'removing')
      .map(toContainerStatus),
  });
}
