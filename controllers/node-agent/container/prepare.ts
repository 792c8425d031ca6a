// Everything a Container needs before it can be made, asked for at the same time where nothing depends on the other.
import type { Container } from '../../../crds/container.ts';
import { TerminalError } from '../../../lib/errors.ts';
import { configMapData, secretData, type Cluster } from '../cluster.ts';
import type { ImageNeed, KeptImage } from '../images/prepare-image.ts';
import type { NodeNetworks } from '../networks/node-networks.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import { prepareMounts, type PrepareMountsDeps } from '../volumes/prepare-mounts.ts';
import { checkDependencies } from './dependencies.ts';
import { buildEnv, type EnvLookup, type EnvResult } from './env.ts';
import type { Need, Prepared } from './prepared.ts';
import { networkNamesOf } from './sandbox-config.ts';

export interface PrepareDeps {
  readonly cluster: Cluster;
  readonly cache: Pick<RuntimeCache, 'viewOf'>;
  readonly networks: NodeNetworks;
  readonly mounts: PrepareMountsDeps;
  readonly prepareImage: (
    container: Container,
    options: { kept: KeptImage | undefined; signal: AbortSignal },
  ) => Promise<ImageNeed>;
  readonly nodeName: string;
  readonly hostIp: string;
}

/** What is there and what is missing; never throws for something that may still come. */
export async function prepare(
  deps: PrepareDeps,
  container: Container,
  { kept, signal }: { kept?: KeptImage | undefined; signal: AbortSignal },
): Promise<Prepared> {
  const dependencies = checkDependencies(deps.cluster, container);
  // Images may take long: they are fetched also while a dependency is awaited.
  const [image, network] = await Promise.all([
    deps.prepareImage(container, { kept, signal }),
    prepareNetwork(deps, container),
  ]);
  const volumes: Prepared['volumes'] =
    image.state === 'Ready'
      ? await prepareVolumes(deps, container, image, signal)
      : { state: 'Waiting', reason: 'WaitingForImage', message: 'volumes are prepared once the image is there' };
  return { dependencies, image, volumes, network };
}

async function prepareVolumes(
  deps: PrepareDeps,
  container: Container,
  image: ImageNeed & { state: 'Ready' },
  signal: AbortSignal,
): Promise<Prepared['volumes']> {
  try {
    const [mounts, readEnv] = await Promise.all([
      prepareMounts(deps.mounts, container, image.image, signal),
      createEnvReader(deps, container, signal),
    ]);
    if (mounts.state === 'Waiting') return mounts;
    const env = readEnv(undefined);
    if (!env.ok)
      return { state: 'Waiting', reason: 'ConfigNotFound', message: env.message, retryAtMs: Date.now() + 2000 };
    return { state: 'Ready', mounts: mounts.mounts, readEnv };
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    return { state: 'Waiting', reason: error.conditionReason, message: error.message, retryAtMs: Date.now() + 10_000 };
  }
}

async function prepareNetwork(deps: PrepareDeps, container: Container): Promise<Prepared['network']> {
  const conflict = userNamespaceConflict(container);
  if (conflict !== undefined) return { state: 'Waiting', reason: 'UserNamespaceConflict', message: conflict };
  const namespace = container.metadata.namespace ?? '';
  const needs = await Promise.all(networkNamesOf(container).map((name) => deps.networks.ensure(namespace, name)));
  const missing = needs.find((need) => need.state === 'Waiting');
  if (missing?.state === 'Waiting') return missing;
  const shared = container.spec.shareNamespaces;
  const targets = new Set([shared?.network, shared?.pid, shared?.ipc].filter((name) => name !== undefined));
  const [target] = targets;
  const [first] = needs;
  const hostGateway = first?.state === 'Ready' && first.gateway !== '' ? first.gateway : deps.hostIp;
  if (target === undefined) return { state: 'Ready', hostGateway };
  if (targets.size > 1) {
    return {
      state: 'Waiting',
      reason: 'ShareNamespacesNotSupported',
      message: 'shareNamespaces: sharing with more than one Container is not supported by this version',
    };
  }
  const found = findTarget(deps, container, target);
  return found.state === 'Ready' ? { ...found, hostGateway } : found;
}

/** A namespace of others cannot belong to the user namespace of one. */
function userNamespaceConflict({ spec }: Container): string | undefined {
  if (spec.securityContext?.userNamespace !== 'Auto') return undefined;
  const shared = ['hostPID', 'hostIPC', 'shareNamespaces'].find((field) => spec[field as keyof typeof spec]);
  return shared && `securityContext.userNamespace: Auto does not go together with ${shared}`;
}

/**
 * What a Container that shares namespaces joins: the sandbox of the other, and with its processes also its present run,
 * whose end is the end of the process namespace. Undefined while there is nothing to join, '' for one that shares nothing.
 */
export function targetKeyOf(deps: Pick<PrepareDeps, 'cluster' | 'cache'>, container: Container): string | undefined {
  const shared = container.spec.shareNamespaces;
  const name = shared?.network ?? shared?.pid ?? shared?.ipc;
  if (name === undefined) return '';
  const target = deps.cluster.containers.get(container.metadata.namespace ?? '', name);
  const view = deps.cache.viewOf(target?.metadata.uid ?? '');
  const sandbox = view.sandboxes.find(({ isReady }) => isReady);
  if (!sandbox || shared?.pid === undefined) return sandbox?.id;
  const run = view.containers.find(({ state, sandboxId }) => state === 'Running' && sandboxId === sandbox.id);
  return run && `${sandbox.id}/${run.id}`;
}

function findTarget(
  deps: PrepareDeps,
  container: Container,
  name: string,
): Need<{ targetSandboxId: string; targetKey: string }> {
  const namespace = container.metadata.namespace ?? '';
  const targetKey = targetKeyOf(deps, container);
  const target = deps.cluster.containers.get(namespace, name);
  const sandbox = target && deps.cache.viewOf(target.metadata.uid ?? '').sandboxes.find(({ isReady }) => isReady);
  if (sandbox && targetKey !== undefined) return { state: 'Ready', targetSandboxId: sandbox.id, targetKey };
  return {
    state: 'Waiting',
    reason: 'SharedContainerNotRunning',
    message: target ? `container "${name}" does not run on node ${deps.nodeName}` : `container "${name}" not found`,
  };
}

/** Names of what the environment is read from. */
export function envSourcesOf({ env = [], envFrom = [] }: Container['spec']): {
  readonly secrets: ReadonlySet<string>;
  readonly configMaps: ReadonlySet<string>;
} {
  const names = (of: readonly ({ readonly name: string } | undefined)[]): Set<string> =>
    new Set(of.flatMap((one) => one?.name ?? []));
  return {
    secrets: names([...env.map(({ valueFrom }) => valueFrom?.secretKeyRef), ...envFrom.map((one) => one.secretRef)]),
    configMaps: names([
      ...env.map(({ valueFrom }) => valueFrom?.configMapKeyRef),
      ...envFrom.map((one) => one.configMapRef),
    ]),
  };
}

/** Reads the sources of the environment once; the result can then be built with and without the address. */
async function createEnvReader(
  deps: PrepareDeps,
  container: Container,
  signal: AbortSignal,
): Promise<(podIp: string | undefined) => EnvResult> {
  const { spec, metadata } = container;
  const namespace = metadata.namespace ?? '';
  const named = envSourcesOf(spec);
  const secrets = new Map<string, Record<string, Buffer>>();
  const configMaps = new Map<string, Record<string, Buffer>>();
  await Promise.all([
    ...[...named.secrets].map(async (name) => {
      const secret = await deps.cluster.secret(namespace, name, signal);
      if (secret) secrets.set(name, secretData(secret));
    }),
    ...[...named.configMaps].map(async (name) => {
      const configMap = await deps.cluster.configMap(namespace, name, signal);
      if (configMap) configMaps.set(name, configMapData(configMap));
    }),
  ]);
  return (podIp) => {
    const lookup: EnvLookup = {
      configMap: (name) => configMaps.get(name),
      secret: (name) => secrets.get(name),
      field: (path) => readField(container, path, { podIp, hostIp: deps.hostIp, nodeName: deps.nodeName }),
    };
    return buildEnv(spec.env ?? [], spec.envFrom ?? [], lookup);
  };
}

/** A field that `valueFrom.fieldRef` may name. */
export function readField(
  { metadata }: Container,
  path: string,
  known: { podIp: string | undefined; hostIp: string; nodeName: string },
): string | undefined {
  const indexed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (indexed) return metadata[indexed[1] as 'labels' | 'annotations']?.[indexed[2] ?? ''];
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace;
    case 'metadata.uid':
      return metadata.uid;
    case 'spec.nodeName':
      return known.nodeName;
    case 'status.hostIP':
      return known.hostIp;
    case 'status.podIP':
      return known.podIp;
    default:
      return undefined;
  }
}
