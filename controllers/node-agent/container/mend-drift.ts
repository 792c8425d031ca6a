// Changes what can be changed on a running container.
import { isAlreadyExists, messageOf } from '../../../lib/errors.ts';
import type { ApplyDeps, ApplyInput, HostStep } from './apply-step.ts';
import { attachmentFor, attachmentKey, resourcesKey } from './drift.ts';
import { currentOf } from './plan.ts';
import { linuxResources, NO_STORAGE_LIMITS, storageAnnotations } from './resources.ts';
import { publishedPortsOf } from './sandbox-config.ts';

/** Does one step of drift; a failure shows in the status, and is thrown to be tried again. */
export async function mendDrift(deps: ApplyDeps, input: ApplyInput, step: HostStep): Promise<void> {
  const { container, memory } = input;
  const { sandbox, run } = currentOf({ container, ...deps.cache.viewOf(container.metadata.uid ?? '') });
  if (!sandbox || !run) return;
  try {
    if (step.kind === 'update-resources') {
      const { resources } = container.spec;
      await deps.runtime.updateResources(run.id, linuxResources(resources), {
        ...NO_STORAGE_LIMITS,
        ...storageAnnotations(resources),
      });
      memory.appliedResources = { containerId: run.id, key: resourcesKey(container) };
    } else if (step.kind === 'update-ports') {
      await deps.runtime.updatePorts(sandbox.id, publishedPortsOf(container, memory.image?.config ?? {}));
    } else if (step.kind === 'attach-network') {
      const attachment = attachmentFor(container, step.network);
      if (attachment) {
        await deps.runtime.attachNetwork(sandbox.id, attachment);
        memory.appliedAttachments?.keys.set(step.network, attachmentKey(attachment));
      }
    } else if (step.kind === 'detach-network') {
      await deps.runtime.detachNetwork(sandbox.id, step.network);
      memory.appliedAttachments?.keys.delete(step.network);
    }
    memory.driftError = undefined;
    deps.record(container, 'Normal', 'Updated', describeDrift(step));
  } catch (error) {
    memory.driftError = {
      reason: isAlreadyExists(error) ? 'PortConflict' : 'UpdateFailed',
      message: `${describeDrift(step)} failed: ${messageOf(error)}`,
    };
    deps.record(container, 'Warning', memory.driftError.reason, memory.driftError.message);
    throw error;
  }
  if (step.kind !== 'update-resources') {
    memory.network = { sandboxId: sandbox.id, value: await deps.runtime.sandboxNetwork(sandbox.id) };
  }
}

function describeDrift(step: HostStep): string {
  switch (step.kind) {
    case 'update-resources':
      return 'changing its resources';
    case 'update-ports':
      return 'changing its published ports';
    case 'attach-network':
      return `connecting it to network ${step.network}`;
    case 'detach-network':
      return `disconnecting it from network ${step.network}`;
    default:
      return step.kind;
  }
}
