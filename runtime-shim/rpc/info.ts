// Version, Status, RuntimeConfig and UpdateRuntimeConfig.
import type {
  Draft,
  RuntimeConfigResponse,
  StatusRequest,
  StatusResponse,
  UpdateRuntimeConfigRequest,
  VersionResponse,
} from '../../cri/messages.ts';
import { readVersion } from '../../lib/version.ts';
import type { Shim } from './deps.ts';

export async function version(): Promise<VersionResponse> {
  // The first is kubelet's own API version, which no runtime has ever changed.
  return { version: '0.1.0', runtimeName: 'windlass', runtimeVersion: readVersion(), runtimeApiVersion: 'v1' };
}

export async function runtimeStatus(shim: Shim, { verbose }: StatusRequest): Promise<Draft<StatusResponse>> {
  const ready = (type: string) => ({ type, status: true });
  const config = { ociRuntime: shim.runtime.program, cgroups: shim.cgroups.version, stateDir: shim.instance.run };
  const features = { recursiveReadOnlyMounts: false, userNamespaces: false };
  return {
    status: { conditions: [ready('RuntimeReady'), ready('NetworkReady')] },
    info: verbose ? { config: JSON.stringify(config) } : {},
    runtimeHandlers: [
      { name: '', features },
      { name: shim.runtime.kind, features },
    ],
    features: { supplementalGroupsPolicy: true },
  };
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
