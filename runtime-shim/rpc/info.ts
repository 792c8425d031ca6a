// Version, Status, RuntimeConfig and UpdateRuntimeConfig.
import { accessSync, constants } from 'node:fs';
import type {
  Draft,
  RuntimeCondition,
  RuntimeConfigResponse,
  StatusRequest,
  StatusResponse,
  UpdateRuntimeConfigRequest,
  VersionResponse,
} from '../../cri/messages.ts';
import { errnoOf } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { readVersion } from '../../lib/version.ts';
import type { Shim } from './deps.ts';

export async function version(): Promise<VersionResponse> {
  // The first is kubelet's own API version, which no runtime has ever changed.
  return { version: '0.1.0', runtimeName: 'windlass', runtimeVersion: readVersion(), runtimeApiVersion: 'v1' };
}

export async function runtimeStatus(shim: Shim, { verbose }: StatusRequest): Promise<Draft<StatusResponse>> {
  const { recursiveReadOnly, userNamespaces, userNamespacesHostNetwork } = shim.rights;
  const features = { recursiveReadOnlyMounts: recursiveReadOnly, userNamespaces };
  return {
    status: {
      conditions: [
        condition('RuntimeReady', 'ProgramMissing', missingPrograms(shim)),
        condition('NetworkReady', 'RepairFailed', shim.network.trouble()),
      ],
    },
    info: verbose ? describe(shim) : {},
    runtimeHandlers: [
      { name: '', features },
      { name: shim.runtime.kind, features },
    ],
    features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork },
  };
}

function condition(type: string, reason: string, trouble: string | undefined): RuntimeCondition {
  return trouble === undefined
    ? { type, status: true, reason: '', message: '' }
    : { type, status: false, reason, message: trouble };
}

/** Programs may be taken away while the shim runs: what runs goes on, but nothing new can be started. */
function missingPrograms(shim: Shim): string | undefined {
  const missing = [shim.conmonPath, shim.runtime.program].filter((file) => {
    try {
      accessSync(file, constants.X_OK);
      return false;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return true;
    }
  });
  return missing.length === 0 ? undefined : `cannot be executed any more: ${missing.join(', ')}`;
}

/** Verbose information: JSON texts by topic, for people and for tools that want to know where things are. */
function describe(shim: Shim): Record<string, string> {
  const { instance, runtime, cgroups } = shim;
  const config = {
    // Root file systems of containers lie here.
    stateDir: paths.snapshots(instance),
    rootDir: instance.home,
    runDir: paths.shimState(instance),
    instanceId: instance.id,
    ociRuntime: { kind: runtime.kind, path: runtime.program },
    conmon: shim.conmonPath,
    cgroups: { version: cgroups.version, driver: 'cgroupfs', parent: shim.cgroupParent },
    swapLimit: shim.hasSwapLimit,
    hugepageSizes: [...cgroups.hugepageSizes()],
    capabilities: [...shim.ownCapabilities].toSorted(),
    metrics: shim.metricsAddress,
  };
  const counts = {
    sandboxes: shim.store.sandboxes.list().length,
    containers: shim.store.containers.list().length,
    images: shim.images.list().length,
  };
  return { config: JSON.stringify(config), counts: JSON.stringify(counts) };
}

/** Control groups are made by path, whatever init runs the host. */
export async function runtimeConfig(): Promise<RuntimeConfigResponse> {
  return { linux: { cgroupDriver: 'CGROUPFS' } };
}

/** Takes the pod CIDR for the pod network; networks that a caller made itself keep their own ranges. */
export async function updateRuntimeConfig(shim: Shim, request: UpdateRuntimeConfigRequest): Promise<object> {
  const cidr = request.runtimeConfig?.networkConfig?.podCidr ?? '';
  if (cidr !== '') await shim.podNetwork.setCidr(cidr);
  return {};
}
