// A container runtime that is nothing but memory: for tests of the node agent's wiring, where no kernel is wanted. It
// writes no logs and runs no processes; a test ends a container by hand.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ImageBuild } from '../../controllers/node-agent/runtime/image-build.ts';
import type {
  ContainerEvent,
  ContainerState,
  InspectedImage,
  NodeRuntime,
  PublishedPort,
  SandboxState,
} from '../../controllers/node-agent/runtime/node-runtime.ts';
import { WindlassError } from '../../lib/errors.ts';

export interface MemoryRuntime extends NodeRuntime {
  /** Names of the calls that changed something, in order. */
  readonly calls: string[];
  readonly sandboxes: Map<string, SandboxState>;
  readonly containers: Map<string, ContainerState>;
  /** Images by every name they answer to; pulls add to it. */
  readonly images: Map<string, InspectedImage>;
  /** Stops return when this has resolved, as with processes that ignore their stop signal. */
  readonly stops: { until: Promise<void> };
  /** What builds were asked for, in order; the last outcome of the double stays. */
  readonly builds: ImageBuild[];
  /** What a build does; one that succeeds with a line of log unless set. */
  readonly builder: { build: NodeRuntime['buildImage'] };
  /** Blobs by digest, with the bytes they have. */
  readonly blobs: Map<string, Buffer>;
  /** References whose pull fails, and why. */
  readonly broken: Map<string, string>;
  /** What the container's process does at its end. */
  end(containerId: string, exitCode: number, reason?: string): void;
}

/** An empty runtime. */
export function createMemoryRuntime(): MemoryRuntime {
  const sandboxes = new Map<string, SandboxState>();
  const containers = new Map<string, ContainerState>();
  const images = new Map<string, InspectedImage>();
  const broken = new Map<string, string>();
  const ports = new Map<string, PublishedPort[]>();
  const attached = new Map<string, string[]>();
  const networks = new Set<string>();
  const rootFilesystems = new Set<string>();
  const calls: string[] = [];
  const builds: ImageBuild[] = [];
  const blobs = new Map<string, Buffer>();
  let declared: readonly string[] = [];
  const builder: MemoryRuntime['builder'] = {
    async build({ references, context }, { onEvent }) {
      await onEvent({ kind: 'step', step: 1, steps: 1, instruction: 'FROM busybox' });
      await onEvent({ kind: 'log', text: `#1 [1/1] FROM busybox (${context.kind})\n` });
      const digest = `sha256:${String(builds.length).padStart(64, '0')}`;
      for (const reference of references)
        images.set(reference, { ...makeImage(reference), id: digest, digest, references });
      return { kind: 'built', digest, cachedSteps: 0, commit: '' };
    },
  };
  const stops = { until: Promise.resolve() };
  const listeners = new Set<(event: ContainerEvent) => void>();
  let counter = 0;

  const change = (kind: ContainerEvent['kind'], id: string, fields: Partial<ContainerState> = {}): void => {
    const state = containers.get(id);
    if (!state) return;
    const next = { ...state, ...fields };
    containers.set(id, next);
    for (const listener of listeners) {
      listener({ kind, containerId: id, sandbox: sandboxes.get(state.sandboxId), containers: [next] });
    }
  };
  const end = (id: string, exitCode: number, reason = exitCode === 0 ? 'Completed' : 'Error'): void =>
    change('stopped', id, { state: 'Exited', exitCode, reason, finishedAtMs: Date.now() });
  const makeImage = (name: string): InspectedImage => ({
    id: 'sha256:'.padEnd(71, '1'),
    digest: 'sha256:'.padEnd(71, '2'),
    references: [name],
    sizeBytes: 1,
    layers: [],
    platform: 'linux/amd64',
    config: {},
  });

  return {
    calls,
    builds,
    builder,
    blobs,
    sandboxes,
    containers,
    images,
    broken,
    stops,
    end,
    version: async () => ({ name: 'memory', version: '1' }),
    describe: async () => ({
      instanceId: 'x',
      metricsAddress: '',
      ociRuntime: 'none',
      features: ['build', 'archives'],
      encryptionKey: '',
      encryptionLacks: 'the kernel has no WireGuard (CONFIG_WIREGUARD)',
    }),
    list: async () => ({ sandboxes: [...sandboxes.values()], containers: [...containers.values()] }),
    async *events(signal) {
      const queue: ContainerEvent[] = [];
      let wake = (): void => undefined;
      const listener = (event: ContainerEvent): void => {
        queue.push(event);
        wake();
      };
      listeners.add(listener);
      signal.addEventListener('abort', () => wake(), { once: true });
      try {
        while (!signal.aborted) {
          const event = queue.shift();
          if (event) yield event;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        listeners.delete(listener);
      }
    },
    async runSandbox(config) {
      calls.push('runSandbox');
      const id = `s${(counter += 1)}`;
      const { name = '', namespace = '', uid = '', attempt = 0 } = config.metadata ?? {};
      sandboxes.set(id, {
        id,
        name,
        namespace,
        uid,
        attempt,
        isReady: true,
        createdAtMs: Date.now(),
        annotations: (config.annotations ?? {}) as Record<string, string>,
        labels: { ...(config.labels as Record<string, string>), 'log-directory': config.logDirectory ?? '' },
      });
      ports.set(
        id,
        (config.portMappings ?? []).map((one) => ({ hostPort: 40_000, hostIp: '', ...one }) as PublishedPort),
      );
      const text = config.annotations?.['network.windlass.dev/attachments'] ?? '[]';
      attached.set(
        id,
        (JSON.parse(text) as { network: string }[]).map(({ network }) => network),
      );
      return id;
    },
    async stopSandbox(id) {
      for (const state of containers.values())
        if (state.sandboxId === id && state.state === 'Running') end(state.id, 137);
    },
    async removeSandbox(id) {
      calls.push('removeSandbox');
      for (const state of containers.values()) if (state.sandboxId === id) containers.delete(state.id);
      sandboxes.delete(id);
    },
    async createContainer(sandboxId, config) {
      calls.push('createContainer');
      const id = `c${(counter += 1)}`;
      rootFilesystems.add(config.annotations?.['runtime.windlass.dev/rootfs-key'] ?? id);
      const path = join(sandboxes.get(sandboxId)?.labels['log-directory'] ?? '', config.logPath ?? '');
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `2026-11-23T12:00:00.0Z stdout F run ${config.metadata?.attempt ?? 0}\n`);
      containers.set(id, {
        id,
        sandboxId,
        name: config.metadata?.name ?? '',
        attempt: config.metadata?.attempt ?? 0,
        state: 'Created',
        createdAtMs: Date.now(),
        startedAtMs: 0,
        finishedAtMs: 0,
        exitCode: 0,
        reason: '',
        message: '',
        annotations: (config.annotations ?? {}) as Record<string, string>,
      });
      return id;
    },
    async startContainer(id) {
      calls.push('startContainer');
      change('started', id, { state: 'Running', startedAtMs: Date.now() });
    },
    async stopContainer(id) {
      calls.push('stopContainer');
      await stops.until;
      if (containers.get(id)?.state === 'Running') end(id, 143);
    },
    async removeContainer(id) {
      calls.push('removeContainer');
      containers.delete(id);
    },
    listRootFilesystems: async () => [...rootFilesystems],
    removeRootFilesystem: async (key) => void rootFilesystems.delete(key),
    containerStatus: async (id) => containers.get(id),
    updateResources: async () => void calls.push('updateResources'),
    reopenLog: async () => undefined,
    pause: async () => void calls.push('pause'),
    unpause: async () => void calls.push('unpause'),
    execSync: async () => ({ exitCode: 0, output: '' }),
    exec: async () => {
      throw new WindlassError('Unimplemented', 'exec is not in memory');
    },
    attach: async () => {
      throw new WindlassError('Unimplemented', 'attach is not in memory');
    },
    portForward: async () => {
      throw new WindlassError('Unimplemented', 'port forwarding is not in memory');
    },
    inspectImage: async (image) => {
      const named = images.get(image);
      if (named) return named;
      const all = [...images.entries()].filter(([, { digest, id }]) => digest === image || id === image);
      const [first] = all;
      return first && { ...first[1], references: all.map(([reference]) => reference) };
    },
    async pullImage(reference, _credentials, _onProgress, _signal, peers) {
      calls.push(`pull ${reference}`);
      const why = broken.get(reference);
      if (why !== undefined) throw new WindlassError('Unavailable', why);
      const image = makeImage(reference);
      const digest = peers?.digest ?? `sha256:${createHash('sha256').update(reference).digest('hex')}`;
      images.set(reference, { ...image, id: digest, digest });
    },
    findBlob: async () => undefined,
    async pushImage(image, reference) {
      calls.push(`push ${reference}`);
      const why = broken.get(reference);
      if (why !== undefined) throw new WindlassError('Unavailable', why);
      return image;
    },
    async importImage(_, references) {
      for (const reference of references) images.set(reference, makeImage(reference));
      const { id, digest } = makeImage('');
      return { id, digest };
    },
    buildImage(build, options) {
      builds.push(build);
      return builder.build(build, options);
    },
    async importBlob(path, digest) {
      blobs.set(digest, readFileSync(path));
      rmSync(path);
    },
    keepBlobs: async (digests) => {
      for (const digest of declared) if (!digests.includes(digest)) blobs.delete(digest);
      declared = digests;
      return digests.filter((digest) => !blobs.has(digest));
    },
    async tagImage(image, reference) {
      const found = [...images.values()].find(({ id, digest }) => id === image || digest === image);
      if (found) images.set(reference, { ...found, references: [...found.references, reference] });
    },
    untagImage: async (reference) => void images.delete(reference),
    copyUp: async () => false,
    async ensureNetwork({ id }) {
      networks.add(id);
      return { bridge: 'br-test' };
    },
    setPeers: async () => undefined,
    removeNetwork: async (id) => void networks.delete(id),
    listNetworks: async () => [...networks],
    sandboxNetwork: async (id) => ({
      interfaces: (attached.get(id) ?? []).map((network, index) => ({
        network,
        name: `eth${index}`,
        ipv4Address: `10.128.0.${index + 2}`,
        macAddress: '02:00:00:00:00:01',
        gateway: '10.128.0.1',
      })),
      ports: ports.get(id) ?? [],
    }),
    async attachNetwork(id, { network }) {
      calls.push(`attach ${network}`);
      attached.set(id, [...(attached.get(id) ?? []), network]);
    },
    async detachNetwork(id, network) {
      calls.push(`detach ${network}`);
      attached.set(
        id,
        (attached.get(id) ?? []).filter((one) => one !== network),
      );
    },
    async updatePorts(id, next) {
      calls.push('updatePorts');
      ports.set(
        id,
        next.map((port) => ({ ...port, hostPort: port.hostPort || 40_001 })),
      );
    },
    setServices: async () => [],
    awaitPeers: async () => [],
    setNames: async () => undefined,
    containerUsage: async () => [],
    sandboxUsage: async () => [],
  };
}
