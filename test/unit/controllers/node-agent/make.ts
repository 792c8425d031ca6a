// Builders of what the agent's plans look at.
import { ContainerSpec, type Container } from '../../../../crds/container.ts';
import { ANNOTATIONS } from '../../../../controllers/node-agent/container/annotations.ts';
import type { Observed } from '../../../../controllers/node-agent/container/plan.ts';
import type { Prepared } from '../../../../controllers/node-agent/container/prepared.ts';
import { specHash } from '../../../../controllers/node-agent/container/spec-hash.ts';
import type {
  ContainerState,
  InspectedImage,
  SandboxState,
} from '../../../../controllers/node-agent/runtime/node-runtime.ts';

export const NOW = Date.parse('2026-11-23T12:00:00Z');

export function makeContainer(
  spec: Record<string, unknown> = {},
  rest: { metadata?: Partial<Container['metadata']>; status?: Container['status'] } = {},
): Container {
  return {
    apiVersion: 'windlass.dev/v1',
    kind: 'Container',
    metadata: {
      name: 'web',
      namespace: 'shop',
      uid: 'u1',
      generation: 1,
      resourceVersion: '10',
      creationTimestamp: '2026-11-23T11:59:00Z',
      finalizers: ['windlass.dev/node'],
      ...rest.metadata,
    },
    spec: ContainerSpec.parse({ image: 'busybox', nodeName: 'n1', ...spec }),
    ...(rest.status ? { status: rest.status } : {}),
  };
}

export function makeSandbox(container: Container, overrides: Partial<SandboxState> = {}): SandboxState {
  return {
    id: 's1',
    namespace: 'shop',
    name: 'web',
    uid: container.metadata.uid ?? '',
    attempt: 0,
    isReady: true,
    createdAtMs: NOW - 60_000,
    annotations: { [ANNOTATIONS.specHash]: specHash(container.spec) },
    labels: { 'windlass.dev/managed': 'true' },
    ...overrides,
  };
}

export function makeRun(overrides: Partial<ContainerState> = {}): ContainerState {
  return {
    id: 'c1',
    sandboxId: 's1',
    name: 'web',
    attempt: 0,
    state: 'Running',
    createdAtMs: NOW - 60_000,
    startedAtMs: NOW - 60_000,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    annotations: { [ANNOTATIONS.generation]: '1' },
    ...overrides,
  };
}

export const IMAGE: InspectedImage = {
  id: 'sha256:1111',
  digest: 'sha256:2222',
  references: ['docker.io/library/busybox:latest'],
  sizeBytes: 10,
  layers: [],
  platform: 'linux/amd64',
  config: {},
};

export const READY: Prepared = {
  dependencies: { state: 'Ready' },
  image: { state: 'Ready', image: IMAGE, reference: 'docker.io/library/busybox:latest' },
  volumes: {
    state: 'Ready',
    mounts: { mounts: [], tmpfs: [], report: [] },
    readEnv: () => ({ ok: true, env: [] }),
  },
  network: { state: 'Ready', hostGateway: '10.128.0.1' },
};

export function observe(container: Container, overrides: Partial<Observed> = {}): Observed {
  return {
    container,
    nowMs: NOW,
    sandboxes: [],
    containers: [],
    unhealthyStops: new Set(),
    isPaused: false,
    predecessors: [],
    drift: [],
    ...overrides,
  };
}
