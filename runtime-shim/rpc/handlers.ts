// All calls, as the gRPC server wants them. What is not here answers Unimplemented by name.
import type { CriHandlers } from '../../cri/server.ts';
import {
  containerStatus,
  listContainers,
  removeContainer,
  reopenContainerLog,
  startContainer,
  updateContainerResources,
} from './containers.ts';
import { createContainer } from './create-container.ts';
import type { Shim } from './deps.ts';
import { exec, execSync } from './exec.ts';
import { imageFsInfo, imageStatus, listImages, pullImage, removeImage } from './images.ts';
import { runtimeConfig, runtimeStatus, updateRuntimeConfig, version } from './info.ts';
import { createNodeHandlers } from './node.ts';
import { runPodSandbox } from './run-pod-sandbox.ts';
import { listPodSandbox, podSandboxStatus, removePodSandbox, stopPodSandbox } from './sandboxes.ts';
import { containerStats, listContainerStats, listPodSandboxStats, podSandboxStats } from './stats.ts';
import { stopContainer } from './stop-container.ts';

export function createHandlers(shim: Shim): CriHandlers {
  return {
    runtime: {
      version,
      status: (request) => runtimeStatus(shim, request),
      runtimeConfig,
      updateRuntimeConfig: (request) => updateRuntimeConfig(shim, request),
      runPodSandbox: (request, context) => runPodSandbox(shim, request, context),
      stopPodSandbox: (request) => stopPodSandbox(shim, request),
      removePodSandbox: (request) => removePodSandbox(shim, request),
      podSandboxStatus: (request) => podSandboxStatus(shim, request),
      listPodSandbox: (request) => listPodSandbox(shim, request),
      createContainer: (request, context) => createContainer(shim, request, context),
      startContainer: (request) => startContainer(shim, request),
      stopContainer: (request) => stopContainer(shim, request),
      removeContainer: (request) => removeContainer(shim, request),
      listContainers: (request) => listContainers(shim, request),
      containerStatus: (request) => containerStatus(shim, request),
      updateContainerResources: (request) => updateContainerResources(shim, request),
      reopenContainerLog: (request) => reopenContainerLog(shim, request),
      execSync: (request, context) => execSync(shim, request, context),
      exec: (request) => exec(shim, request),
      containerStats: (request) => containerStats(shim, request),
      listContainerStats: (request) => listContainerStats(shim, request),
      podSandboxStats: (request) => podSandboxStats(shim, request),
      listPodSandboxStats: (request) => listPodSandboxStats(shim, request),
      getContainerEvents: (_request, { signal }) => shim.events.subscribe(signal),
    },
    images: {
      listImages: (request) => listImages(shim, request),
      imageStatus: (request) => imageStatus(shim, request),
      pullImage: (request, context) => pullImage(shim, request, context),
      removeImage: (request) => removeImage(shim, request),
      imageFsInfo: () => imageFsInfo(shim),
    },
    node: createNodeHandlers(shim),
  };
}
