// What a running container has, learnt when it is seen for the first time: after a restart of the agent, or a start.
import { RUNTIME_ANNOTATIONS } from '../../../cri/annotations.ts';
import type { Container } from '../../../crds/container.ts';
import { findCondition } from '../../runtime/conditions.ts';
import { resolveHealthCheck } from '../health/health-check.ts';
import type { ContainerState, NetworkAttachment, NodeRuntime, SandboxState } from '../runtime/node-runtime.ts';
import { ANNOTATIONS } from './annotations.ts';
import { attachmentKeys, resourcesKey } from './drift.ts';
import type { ContainerMemory } from './memory.ts';
import { attachmentsOf } from './sandbox-config.ts';

/** Puts it into `memory`, as far as it is not there yet. */
export async function adopt(
  { runtime }: { readonly runtime: Pick<NodeRuntime, 'sandboxNetwork' | 'inspectImage'> },
  container: Container,
  memory: ContainerMemory,
  { run, sandbox }: { run: ContainerState; sandbox: SandboxState },
): Promise<void> {
  if (memory.network?.sandboxId !== sandbox.id) {
    memory.network = { sandboxId: sandbox.id, value: await runtime.sandboxNetwork(sandbox.id) };
  }
  if (!memory.image) {
    // By digest: its name may lead to another image by now.
    const { [ANNOTATIONS.imageDigest]: digest, [ANNOTATIONS.image]: reference } = run.annotations;
    memory.image =
      (digest && (await runtime.inspectImage(digest))) ||
      (reference ? await runtime.inspectImage(reference) : undefined);
  }
  memory.healthCheck = resolveHealthCheck(
    container.spec.healthCheck,
    memory.image?.config.config?.Healthcheck ?? undefined,
  );
  const isUpToDate = container.status?.observedGeneration === container.metadata.generation;
  if (memory.appliedAttachments?.sandboxId !== sandbox.id) {
    const madeWith = sandbox.annotations[RUNTIME_ANNOTATIONS.attachments] ?? '[]';
    const attachments = isUpToDate ? attachmentsOf(container) : (JSON.parse(madeWith) as NetworkAttachment[]);
    memory.appliedAttachments = { sandboxId: sandbox.id, keys: attachmentKeys(attachments) };
  }
  if (memory.appliedResources?.containerId === run.id) return;
  // First sight of it in this process: whether it is paused, and its resources, are as the last status says.
  memory.isPaused = findCondition(container, 'Ready')?.reason === 'Paused' && container.status?.containerID === run.id;
  memory.appliedResources = { containerId: run.id, key: isUpToDate ? resourcesKey(container) : '' };
}
