import type { Container } from '../../../crds/container.ts';
import type { Filter } from '../filter.ts';

/** Containers that share namespaces or volumes with another one run where that one runs. */
export const coLocation: Filter = (container, node, context) => {
  for (const name of companionsOf(container)) {
    const home = context.container(`${container.metadata.namespace ?? ''}/${name}`)?.spec.nodeName;
    if (home === node.name) continue;
    return home
      ? { reason: `did not run container ${name}`, detail: `which is on ${home}` }
      : { reason: `had to wait for container ${name}, which is not on a node yet` };
  }
  return undefined;
};

/** Names of the Containers that must be on the same node. */
export function companionsOf(container: Container): string[] {
  const { network, pid, ipc } = container.spec.shareNamespaces ?? {};
  const from = (container.spec.volumesFrom ?? []).map((source) => source.container);
  return [...new Set([network, pid, ipc, ...from].filter((name) => name !== undefined))];
}
