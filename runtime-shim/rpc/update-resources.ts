// UpdateContainerResources and UpdatePodSandboxResources.
import { RUNTIME_ANNOTATIONS } from '../../cri/annotations.ts';
import type {
  LinuxContainerResources,
  UpdateContainerResourcesRequest,
  UpdatePodSandboxResourcesRequest,
} from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import { WindlassError } from '../../lib/errors.ts';
import { toWritableResources } from '../cgroups/resources.ts';
import { layerLimitsOf } from '../storage/layer-limits.ts';
import type { Shim } from './deps.ts';
import { getContainer, getSandbox } from './lookup.ts';
import { rootFilesystemId } from './root-filesystem.ts';
import { refuseWindows } from './refuse-foreign.ts';

/** What CRI has no field for and can be changed in place. */
const STORAGE_ANNOTATIONS: readonly string[] = [
  RUNTIME_ANNOTATIONS.ephemeralStorage,
  RUNTIME_ANNOTATIONS.ephemeralInodes,
];

/** Changes limits of a container in place, all or none; what is zero or empty stays as it is. */
export async function updateContainerResources(shim: Shim, request: UpdateContainerResourcesRequest): Promise<object> {
  const { id } = getContainer(shim, request.containerId);
  refuseWindows(request.windows, 'windows');
  const foreign = Object.keys(request.annotations).filter((key) => !STORAGE_ANNOTATIONS.includes(key));
  if (foreign.length > 0) {
    throw new WindlassError('Unimplemented', `annotations: ${foreign.join(', ')} mean nothing to this runtime`);
  }
  const linux = requireField(request.linux, 'linux');
  await shim.queue.run(id, async () => {
    const record = getContainer(shim, id);
    if (record.phase !== 'running' && record.phase !== 'created') {
      throw new WindlassError('Conflict', `container ${id} is not running (${record.phase})`);
    }
    if (linux.oomScoreAdj !== 0 && linux.oomScoreAdj !== (record.resources?.oomScoreAdj ?? 0)) {
      throw new WindlassError('Unimplemented', 'linux.oom_score_adj cannot be changed once the container is created');
    }
    const config = { ...record.config, annotations: { ...record.config.annotations, ...request.annotations } };
    const limits = layerLimitsOf(config, shim.storage.defaults);
    shim.cgroups.update(record.cgroupsPath, toWritableResources(linux, shim.cgroups.hugepageSizes()));
    shim.images.limitRootFilesystem(rootFilesystemId(record), limits);
    shim.store.containers.note({ ...record, config, resources: mergeResources(record.resources, linux) });
  });
  return {};
}

/**
 * Notes the resources of a sandbox. Its control group belongs to the caller, who has changed it already, and nothing of
 * the sandbox's own runs in it: the numbers are told to whoever asks for the verbose status.
 */
export async function updatePodSandboxResources(
  shim: Shim,
  { podSandboxId, overhead, resources }: UpdatePodSandboxResourcesRequest,
): Promise<object> {
  const { id } = getSandbox(shim, podSandboxId);
  for (const part of [overhead, resources]) toWritableResources(part, shim.cgroups.hugepageSizes());
  await shim.queue.run(id, async () => {
    const record = getSandbox(shim, id);
    if (record.phase !== 'ready') throw new WindlassError('Conflict', `sandbox ${id} is not ready (${record.phase})`);
    const { config } = record;
    const linux = config.linux ?? { cgroupParent: '', securityContext: null, sysctls: {} };
    shim.store.sandboxes.save({ ...record, config: { ...config, linux: { ...linux, overhead, resources } } });
  });
  return {};
}

/** What holds after a change: zero and empty leave the old value. */
export function mergeResources(
  before: LinuxContainerResources | null,
  change: LinuxContainerResources,
): LinuxContainerResources {
  const said = Object.entries(change).filter(
    ([, value]) => value !== 0 && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
  const hugepages = new Map(
    [...(before?.hugepageLimits ?? []), ...change.hugepageLimits].map((limit) => [limit.pageSize, limit]),
  );
  return {
    ...(before ?? change),
    ...(Object.fromEntries(said) as Partial<LinuxContainerResources>),
    hugepageLimits: [...hugepages.values()],
    unified: { ...before?.unified, ...change.unified },
  };
}
