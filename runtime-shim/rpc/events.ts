// Container events as CRI tells them: with the full state of the sandbox and its containers at that moment.
import type { ContainerEventType } from '../../cri/stats-messages.ts';
import type { ContainerRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { containersOf } from './lookup.ts';
import { nanoseconds, toContainerStatus, toSandboxStatus } from './status-messages.ts';

/** Tells every reader of GetContainerEvents what happened to the container. */
export function publishEvent(shim: Shim, record: ContainerRecord, containerEventType: ContainerEventType): void {
  const sandbox = shim.store.sandboxes.get(record.sandboxId);
  shim.events.publish({
    containerId: record.id,
    containerEventType,
    createdAt: nanoseconds(shim.clock.now()),
    podSandboxStatus: sandbox ? toSandboxStatus(shim, sandbox) : null,
    containersStatuses: containersOf(shim, record.sandboxId)
      .filter(({ phase }) => phase !== 'creating' && phase !== 'removing')
      .map(toContainerStatus),
  });
}
