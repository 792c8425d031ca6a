// Sandboxes of this instance whose Container is gone: deleted by force, or never known to this API server.
import type { Container } from '../../../crds/container.ts';
import { MANAGED_LABEL } from './annotations.ts';
import type { SandboxState } from '../runtime/node-runtime.ts';

/**
 * The sandboxes to remove. UIDs are compared, not names: a new Container of the same name is not the one they were
 * made for, and one that is bound elsewhere now must not run here.
 */
export function findOrphans(
  sandboxes: readonly SandboxState[],
  containers: readonly Container[],
  nodeName: string,
): SandboxState[] {
  const own = new Set(
    containers.filter(({ spec }) => spec.nodeName === nodeName).map(({ metadata }) => metadata.uid ?? ''),
  );
  return sandboxes.filter(({ uid, labels }) => labels[MANAGED_LABEL] === 'true' && !own.has(uid));
}
