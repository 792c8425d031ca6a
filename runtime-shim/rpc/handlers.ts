// All calls, as the gRPC server wants them. What is not here answers Unimplemented by name.
import type { CriHandlers } from '../../cri/server.ts';
import type { ImageBuilder } from '../images/image-builder.ts';
import { attach } from './attach.ts';
import { checkpointContainer } from './checkpoint-container.ts';
import { containerStatus, listContainers, removeContainer, reopenContainerLog, startContainer } from './containers.ts';
import { createCpuRates } from './cpu-rates.ts';
import { createContainer } from './create-container.ts';
import type { Shim } from './deps.ts';
import { exec, execSync } from './exec.ts';
import { imageFsInfo, imageStatus, listImages, pullImage, removeImage } from './images.ts';
import { runtimeConfig, runtimeStatus, updateRuntimeConfig, version } from './info.ts';
import { createNodeHandlers } from './node.ts';
import { listMetricDescriptors, listPodSandboxMetrics } from './pod-metrics.ts';
import { portForward } from './port-forward.ts';
import { runPodSandbox } from './run-pod-sandbox.ts';
import { listPodSandbox, podSandboxStatus, removePodSandbox, stopPodSandbox } from './sandboxes.ts';
import { containerStats, listContainerStats, listPodSandboxStats, podSandboxStats } from './stats.ts';
import { stopContainer } from './stop-container.ts';
import {
  streamContainers,
  streamContainerStats,
  streamImages,
  streamPodSandboxes,
  streamPodSandboxMetrics,
  streamPodSandboxStats,
} from './stream-lists.ts';
import { updateContainerResources, updatePodSandboxResources } from './update-resources.ts';

/** The calls on `shim`; images are built where there is a builder. */
export function createHandlers(shim: Shim, builder?: ImageBuilder): CriHandlers {
  const rates = createCpuRates();
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
      updatePodSandboxResources: (request) => updatePodSandboxResources(shim, request),
      createContainer: (request, context) => createContainer(shim, request, context),
      startContainer: (request) => startContainer(shim, request),
      stopContainer: (request) => stopContainer(shim, request),
      removeContainer: (request) => removeContainer(shim, request),
      listContainers: (request) => listContainers(shim, request),
      containerStatus: (request) => containerStatus(shim, request),
      updateContainerResources: (request) => updateContainerResources(shim, request),
      reopenContainerLog: (request) => reopenContainerLog(shim, request),
      checkpointContainer: (request, context) => checkpointContainer(shim, request, context),
      execSync: (request, context) => execSync(shim, request, context),
      exec: (request) => exec(shim, request),
      attach: (request) => attach(shim, request),
      portForward: (request) => portForward(shim, request),
      containerStats: (request) => containerStats(shim, rates, request),
      listContainerStats: (request) => listContainerStats(shim, rates, request),
      podSandboxStats: (request) => podSandboxStats(shim, rates, request),
      listPodSandboxStats: (request) => listPodSandboxStats(shim, rates, request),
      listMetricDescriptors,
      listPodSandboxMetrics: (_request, { signal }) => listPodSandboxMetrics(shim, signal),
      getContainerEvents: (_request, { signal }) => shim.events.subscribe(signal),
      streamPodSandboxes: (request) => streamPodSandboxes(shim, request),
      streamContainers: (request) => streamContainers(shim, request),
      streamContainerStats: (request) => streamContainerStats(shim, rates, request),
      streamPodSandboxStats: (request) => streamPodSandboxStats(shim, rates, request),
      streamPodSandboxMetrics: (_request, { signal }) => streamPodSandboxMetrics(shim, signal),
    },
    images: {
      listImages: (request) => listImages(shim, request),
      imageStatus: (request) => imageStatus(shim, request),
      pullImage: (request, context) => pullImage(shim, request, context),
      removeImage: (request) => removeImage(shim, request),
      imageFsInfo: () => imageFsInfo(shim),
      streamImages: (request) => streamImages(shim, request),
    },
    node: createNodeHandlers(shim, builder),
  };
}
