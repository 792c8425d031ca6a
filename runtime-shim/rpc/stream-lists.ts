// The streaming lists of CRI (KEP 5825): every item in exactly one message, then the end. What is listed is settled at
// the call; each item is looked up when its turn comes, so a slow reader of a long list holds ids only, and what went
// meanwhile is left out.
import type { Draft, ListContainersRequest, ListPodSandboxRequest } from '../../cri/messages.ts';
import type {
  ListContainerStatsRequest,
  ListImagesRequest,
  ListPodSandboxStatsRequest,
  StreamContainersResponse,
  StreamContainerStatsResponse,
  StreamImagesResponse,
  StreamPodSandboxesResponse,
  StreamPodSandboxMetricsResponse,
  StreamPodSandboxStatsResponse,
} from '../../cri/stats-messages.ts';
import type { CpuRates } from './cpu-rates.ts';
import type { Shim } from './deps.ts';
import { selectImages, toImage } from './images.ts';
import { measurePod } from './pod-metrics.ts';
import { selectContainers, selectReady, selectRunning, selectSandboxes } from './select.ts';
import { measureContainer, measureSandbox } from './stats.ts';
import { toContainer, toSandbox } from './status-messages.ts';

/** Annotations may take 256 KiB an item (Kubernetes' limit): a message stays below gRPC's smallest limit of 4 MiB. */
const ITEMS_PER_MESSAGE = 8;

export async function* streamPodSandboxes(
  shim: Shim,
  { filter }: ListPodSandboxRequest,
): AsyncGenerator<Draft<StreamPodSandboxesResponse>> {
  for (const ids of batches(selectSandboxes(shim, filter))) {
    const podSandboxes = ids.flatMap((id) => shim.store.sandboxes.get(id) ?? []).map(toSandbox);
    if (podSandboxes.length > 0) yield { podSandboxes };
  }
}

export async function* streamContainers(
  shim: Shim,
  { filter }: ListContainersRequest,
): AsyncGenerator<Draft<StreamContainersResponse>> {
  for (const ids of batches(selectContainers(shim, filter))) {
    const containers = ids.flatMap((id) => shim.store.containers.get(id) ?? []).map(toContainer);
    if (containers.length > 0) yield { containers };
  }
}

export async function* streamImages(
  shim: Shim,
  { filter }: ListImagesRequest,
): AsyncGenerator<Draft<StreamImagesResponse>> {
  for (const ids of batches(selectImages(shim, filter))) {
    const images = ids.flatMap((id) => shim.images.find(id) ?? []).map(toImage);
    if (images.length > 0) yield { images };
  }
}

export async function* streamContainerStats(
  shim: Shim,
  rates: CpuRates,
  { filter }: ListContainerStatsRequest,
): AsyncGenerator<Draft<StreamContainerStatsResponse>> {
  for (const { id } of selectRunning(shim, filter)) {
    const record = shim.store.containers.get(id);
    if (record?.phase === 'running') yield { containerStats: [await measureContainer(shim, rates, record)] };
  }
}

export async function* streamPodSandboxStats(
  shim: Shim,
  rates: CpuRates,
  { filter }: ListPodSandboxStatsRequest,
): AsyncGenerator<Draft<StreamPodSandboxStatsResponse>> {
  for (const { id } of selectReady(shim, filter)) {
    const record = shim.store.sandboxes.get(id);
    if (record?.phase === 'ready') yield { podSandboxStats: [await measureSandbox(shim, rates, record)] };
  }
}

export async function* streamPodSandboxMetrics(
  shim: Shim,
  signal: AbortSignal,
): AsyncGenerator<Draft<StreamPodSandboxMetricsResponse>> {
  for (const { id } of selectReady(shim, null)) {
    const metrics = await measurePod(shim, id, signal);
    if (metrics) yield { podSandboxMetrics: [metrics] };
  }
}

function batches(records: readonly { readonly id: string }[]): string[][] {
  const ids = records.map(({ id }) => id);
  return Array.from({ length: Math.ceil(ids.length / ITEMS_PER_MESSAGE) }, (_, index) =>
    ids.slice(index * ITEMS_PER_MESSAGE, (index + 1) * ITEMS_PER_MESSAGE),
  );
}
