// Everything a Container mounts, made ready on the host and written down as CRI mounts.
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from '../../../crds/container-mounts.ts';
import type { Container } from '../../../crds/container.ts';
import { parseQuantity } from '../../../lib/quantity.ts';
import { configMapData, secretData, type Cluster } from '../cluster.ts';
import type { PreparedMounts, TmpfsMount } from '../container/container-config.ts';
import type { Need } from '../container/prepared.ts';
import type { InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';
import { borrowMounts } from './borrow-mounts.ts';
import { byDepth, isAnonymous, listMounts } from './mount-list.ts';
import { selectFiles, writeProjectedFiles } from './projected-files.ts';
import { pathSteps, resolveBelow } from './safe-path.ts';
import { projectedDirectory } from './volume-paths.ts';
import { exists, hostPathMissing, openAnonymousVolume, openVolume, type VolumeStoreDeps } from './volume-store.ts';

export interface PrepareMountsDeps {
  readonly cluster: Cluster;
  readonly runtime: Pick<NodeRuntime, 'copyUp'>;
  readonly store: VolumeStoreDeps;
  /** Sees to it that an image that is mounted is on the node. */
  readonly prepareImageMount: (
    container: Container,
    reference: string,
  ) => Promise<Need<{ readonly image: InspectedImage }>>;
}

type CriMount = PreparedMounts['mounts'][number];
export interface OneMount {
  readonly mount?: CriMount;
  readonly tmpfs?: TmpfsMount;
  readonly noFollow?: boolean;
  readonly report: { mountPath: string; type: string; name?: string; source?: string; readOnly: boolean };
}
export type MountNeed = Need<OneMount>;

const PROPAGATION = {
  Private: 'PROPAGATION_PRIVATE',
  HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
  Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
} as const;

const waiting = (reason: string, message: string): Need<never> => ({ state: 'Waiting', reason, message });

/** All mounts, or the first that is not ready. */
export async function prepareMounts(
  deps: PrepareMountsDeps,
  container: Container,
  image: InspectedImage,
  signal: AbortSignal,
): Promise<Need<{ readonly mounts: PreparedMounts }>> {
  const borrowed = allReady(borrowMounts(deps.cluster.containers, container, await realVolumesRoot(deps, container)));
  if (borrowed.state === 'Waiting') return borrowed;
  const borrowedPaths = borrowed.found.map(({ report }) => report.mountPath);
  const own = allReady(
    await Promise.all(
      listMounts(container, image.config, borrowedPaths).map((mount) =>
        prepareMount(deps, container, mount, image, signal),
      ),
    ),
  );
  if (own.state === 'Waiting') return own;
  const found = [...own.found, ...borrowed.found].toSorted((a, b) => byDepth(a.report, b.report));
  return {
    state: 'Ready',
    mounts: {
      mounts: found.flatMap(({ mount }) => (mount ? [mount] : [])),
      tmpfs: found.flatMap(({ tmpfs }) => (tmpfs ? [tmpfs] : [])),
      noFollow: found.flatMap(({ noFollow, report }) => (noFollow ? [report.mountPath] : [])),
      report: found.map(({ report }) => report),
    },
  };
}

function allReady(needs: readonly MountNeed[]): Need<{ readonly found: readonly OneMount[] }> {
  const found: OneMount[] = [];
  for (const need of needs) {
    if (need.state === 'Waiting') return need;
    found.push(need);
  }
  return { state: 'Ready', found };
}

async function prepareMount(
  deps: PrepareMountsDeps,
  container: Container,
  mount: Mount,
  image: InspectedImage,
  signal: AbortSignal,
): Promise<MountNeed> {
  if (mount.tmpfs) return prepareTmpfs(mount, mount.tmpfs);
  if (mount.hostPath !== undefined) return prepareHostPath(mount, mount.hostPath, deps.store.nodeName);
  if (mount.configMap || mount.secret) return prepareProjected(deps, container, mount, signal);
  if (mount.image) return prepareImageView(deps, container, mount, mount.image.reference);
  return prepareVolume(deps, container, mount, image, signal);
}

async function prepareVolume(
  deps: PrepareMountsDeps,
  container: Container,
  mount: Mount,
  image: InspectedImage,
  signal: AbortSignal,
): Promise<MountNeed> {
  const namespace = container.metadata.namespace ?? '';
  const need = isAnonymous(mount)
    ? await openAnonymousVolume(deps.store, container, mount.mountPath, signal)
    : await openVolume(deps.store, namespace, mount.volume ?? '', signal);
  if (need.state === 'Waiting') return need;
  const { volume, directory } = need;
  // A host path never gets a copy, nor does a part of a volume that others may use as a whole.
  if (volume.spec.hostPath === undefined && !mount.noCopy && mount.subPath === undefined) {
    await deps.runtime.copyUp(image.id, mount.mountPath, directory);
  }
  const source = mount.subPath === undefined ? directory : await resolveBelow(directory, mount.subPath);
  return bind(mount, source, isAnonymous(mount) ? 'Anonymous' : 'Volume', volume.metadata.name);
}

async function prepareHostPath(mount: Mount, hostPath: string, nodeName: string): Promise<MountNeed> {
  if (!(await exists(hostPath))) {
    return hostPathMissing(`host path ${hostPath} does not exist on node ${nodeName}`);
  }
  const source = mount.subPath === undefined ? hostPath : await resolveBelow(hostPath, mount.subPath);
  return bind(mount, source, 'HostPath');
}

function prepareTmpfs(mount: Mount, tmpfs: NonNullable<Mount['tmpfs']>): MountNeed {
  return {
    state: 'Ready',
    tmpfs: {
      path: mount.mountPath,
      sizeBytes: tmpfs.sizeLimit === undefined ? 0 : Math.ceil(parseQuantity(tmpfs.sizeLimit)),
      mode: tmpfs.mode ?? 0o1777,
    },
    report: { mountPath: mount.mountPath, type: 'Tmpfs', readOnly: mount.readOnly },
  };
}

async function prepareImageView(
  deps: PrepareMountsDeps,
  container: Container,
  mount: Mount,
  reference: string,
): Promise<MountNeed> {
  const need = await deps.prepareImageMount(container, reference);
  if (need.state === 'Waiting') return need;
  return {
    state: 'Ready',
    mount: {
      containerPath: mount.mountPath,
      readonly: true,
      image: { image: need.image.id, userSpecifiedImage: reference },
      imageSubPath: mount.subPath ?? '',
    },
    report: { mountPath: mount.mountPath, type: 'Image', name: reference, readOnly: true },
  };
}

async function prepareProjected(
  deps: PrepareMountsDeps,
  container: Container,
  mount: Mount,
  signal: AbortSignal,
): Promise<MountNeed> {
  const written = await writeProjected(deps, container, mount, signal);
  if (written.state === 'Waiting') return written;
  const { directory, name } = written;
  const type = mount.secret ? 'Secret' : 'ConfigMap';
  if (mount.subPath === undefined) return bind({ ...mount, readOnly: true }, directory, type, name);
  // The agent's own folder: containers see it read-only, so the link to the newest files can be followed here.
  const file = join(directory, ...pathSteps(mount.subPath));
  const source = await realpath(file).catch(() => undefined);
  if (source === undefined)
    return {
      ...waiting('KeyNotFound', `${type.toLowerCase()} "${name}" has no file ${mount.subPath}`),
      retryAtMs: Date.now() + 2000,
    };
  return bind({ ...mount, readOnly: true }, source, type, name);
}

/** Writes the files of one ConfigMap or Secret mount; also called for running containers when the object changes. */
export async function writeProjected(
  deps: Pick<PrepareMountsDeps, 'cluster' | 'store'>,
  container: Container,
  mount: Mount,
  signal: AbortSignal,
): Promise<Need<{ readonly directory: string; readonly name: string }>> {
  const source = mount.secret ?? mount.configMap;
  if (!source) return waiting('InvalidMount', `mount ${mount.mountPath} has neither configMap nor secret`);
  const kind = mount.secret ? 'secret' : 'configmap';
  const namespace = container.metadata.namespace ?? '';
  const data = mount.secret
    ? await deps.cluster.secret(namespace, source.name, signal).then((secret) => secret && secretData(secret))
    : await deps.cluster.configMap(namespace, source.name, signal).then((found) => found && configMapData(found));
  if (!data && !source.optional) {
    return {
      state: 'Waiting',
      reason: mount.secret ? 'SecretNotFound' : 'ConfigMapNotFound',
      message: `${kind} "${source.name}" not found`,
      retryAtMs: Date.now() + 2000,
    };
  }
  const selected = selectFiles(data ?? {}, source);
  if ('missingKey' in selected) {
    return {
      state: 'Waiting',
      reason: 'KeyNotFound',
      message: `${kind} "${source.name}" has no key "${selected.missingKey}"`,
      retryAtMs: Date.now() + 2000,
    };
  }
  const directory = projectedDirectory(deps.store.roots, container.metadata.uid ?? '', mount.mountPath);
  await writeProjectedFiles(directory, selected.files);
  return { state: 'Ready', directory, name: source.name };
}

const realVolumesRoot = async ({ store }: PrepareMountsDeps, { spec }: Container): Promise<string> =>
  spec.volumesFrom?.length ? realpath(store.roots.volumes).catch(() => store.roots.volumes) : '';

function bind(mount: Mount, source: string, type: string, name?: string): MountNeed {
  return {
    state: 'Ready',
    mount: {
      containerPath: mount.mountPath,
      hostPath: source,
      readonly: mount.readOnly,
      propagation: PROPAGATION[mount.propagation ?? 'Private'],
    },
    noFollow: mount.subPath !== undefined && !mount.configMap && !mount.secret,
    report: {
      mountPath: mount.mountPath,
      type,
      ...(name === undefined ? {} : { name }),
      source,
      readOnly: mount.readOnly,
    },
  };
}
