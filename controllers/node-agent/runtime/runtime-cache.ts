// What the runtime holds, kept current by its event stream, by relisting, and by what the agent itself just did.
import type { ContainerEvent, ContainerState, NodeRuntime, SandboxState } from './node-runtime.ts';

export interface RuntimeView {
  /** Sandboxes of one Container, newest attempt first. */
  readonly sandboxes: readonly SandboxState[];
  /** Containers in them, newest attempt first. */
  readonly containers: readonly ContainerState[];
}

export interface RuntimeCache {
  viewOf(uid: string): RuntimeView;
  sandboxes(): readonly SandboxState[];
  containers(): readonly ContainerState[];
  container(id: string): ContainerState | undefined;
  sandboxOf(container: ContainerState): SandboxState | undefined;
  putSandbox(sandbox: SandboxState): void;
  dropSandbox(id: string): void;
  putContainer(container: ContainerState): void;
  dropContainer(id: string): void;
  /** Asks the runtime about one container and remembers the answer. */
  refreshContainer(id: string): Promise<ContainerState | undefined>;
  /** Takes over one event; returns the sandbox it is about. */
  apply(event: ContainerEvent): SandboxState | undefined;
  /** Calls back after every change, until the returned function is called. */
  onChange(listener: () => void): () => void;
  /** Replaces everything by what the runtime lists; returns the sandboxes that are new, gone or different. */
  relist(): Promise<readonly SandboxState[]>;
}

/** An empty cache; call relist() before the first use. */
export function createRuntimeCache(runtime: Pick<NodeRuntime, 'list' | 'containerStatus'>): RuntimeCache {
  const sandboxes = new Map<string, SandboxState>();
  const containers = new Map<string, ContainerState>();
  // Counts changes, so that a list that was under way when something changed does not undo the change.
  let version = 0;
  const listeners = new Set<() => void>();
  const changed = (): void => {
    version += 1;
    for (const listener of listeners) listener();
  };

  const cache: RuntimeCache = {
    viewOf(uid) {
      const own = [...sandboxes.values()].filter((sandbox) => sandbox.uid === uid);
      const ids = new Set(own.map(({ id }) => id));
      return {
        sandboxes: own.toSorted((a, b) => b.attempt - a.attempt),
        containers: [...containers.values()]
          .filter(({ sandboxId }) => ids.has(sandboxId))
          .toSorted((a, b) => b.attempt - a.attempt),
      };
    },
    sandboxes: () => [...sandboxes.values()],
    containers: () => [...containers.values()],
    container: (id) => containers.get(id),
    sandboxOf: (container) => sandboxes.get(container.sandboxId),
    putSandbox(sandbox) {
      sandboxes.set(sandbox.id, sandbox);
      changed();
    },
    dropSandbox(id) {
      sandboxes.delete(id);
      for (const container of containers.values()) if (container.sandboxId === id) containers.delete(container.id);
      changed();
    },
    putContainer(container) {
      const known = containers.get(container.id);
      // A container that has ended never runs again: an older picture must not bring it back.
      if (known?.state === 'Exited' && container.state !== 'Exited') return;
      if (known?.state === 'Running' && container.state === 'Created') return;
      containers.set(
        container.id,
        container.sandboxId === '' && known ? { ...container, sandboxId: known.sandboxId } : container,
      );
      changed();
    },
    dropContainer(id) {
      containers.delete(id);
      changed();
    },
    async refreshContainer(id) {
      const status = await runtime.containerStatus(id);
      if (!status) cache.dropContainer(id);
      else cache.putContainer(status);
      return containers.get(id);
    },
    apply(event) {
      if (event.sandbox) cache.putSandbox(event.sandbox);
      for (const container of event.containers) cache.putContainer(container);
      if (event.kind !== 'deleted') return event.sandbox;
      const container = containers.get(event.containerId);
      if (container) {
        cache.dropContainer(event.containerId);
        return sandboxes.get(container.sandboxId);
      }
      // The runtime tells of a deleted sandbox under the sandbox's own id.
      const sandbox = sandboxes.get(event.containerId);
      if (sandbox) cache.dropSandbox(sandbox.id);
      return sandbox ?? event.sandbox;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async relist() {
      for (;;) {
        const before = version;
        const listed = await runtime.list();
        if (version !== before) continue;
        const different = replaceAll(sandboxes, containers, listed);
        changed();
        return different;
      }
    },
  };
  return cache;
}

function replaceAll(
  sandboxes: Map<string, SandboxState>,
  containers: Map<string, ContainerState>,
  listed: { sandboxes: SandboxState[]; containers: ContainerState[] },
): SandboxState[] {
  const changed = new Map<string, SandboxState>();
  const mark = (sandbox: SandboxState | undefined): void => {
    if (sandbox) changed.set(sandbox.id, sandbox);
  };
  const listedSandboxes = new Map(listed.sandboxes.map((sandbox) => [sandbox.id, sandbox]));
  const listedContainers = new Map(listed.containers.map((container) => [container.id, container]));
  for (const sandbox of sandboxes.values()) if (!listedSandboxes.has(sandbox.id)) mark(sandbox);
  for (const sandbox of listedSandboxes.values()) {
    if (sandboxes.get(sandbox.id)?.isReady !== sandbox.isReady) mark(sandbox);
  }
  for (const container of [...containers.values(), ...listedContainers.values()]) {
    if (containers.get(container.id)?.state === listedContainers.get(container.id)?.state) continue;
    mark(listedSandboxes.get(container.sandboxId) ?? sandboxes.get(container.sandboxId));
  }
  sandboxes.clear();
  containers.clear();
  for (const [id, sandbox] of listedSandboxes) sandboxes.set(id, sandbox);
  for (const [id, container] of listedContainers) containers.set(id, container);
  return [...changed.values()];
}
