// ListMetricDescriptors, ListPodSandboxMetrics and what StreamPodSandboxMetrics sends.
import type { Draft } from '../../cri/messages.ts';
import type {
  ListMetricDescriptorsResponse,
  ListPodSandboxMetricsResponse,
  Metric,
  PodSandboxMetrics,
} from '../../cri/stats-messages.ts';
import { isRunning } from '../../lib/process-identity.ts';
import { readLinkCounters } from '../network/counters.ts';
import { containerSamples } from '../pod-metrics/container-samples.ts';
import { BASE_LABELS, METRIC_KINDS, type Sample } from '../pod-metrics/descriptors.ts';
import { blockDeviceName, describeFilesystem, type FilesystemSize } from '../pod-metrics/devices.ts';
import { networkSamples } from '../pod-metrics/network-samples.ts';
import { countDescriptors, readOpenFilesLimit } from '../pod-metrics/processes.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { containersOf } from './lookup.ts';
import { rootFilesystemId } from './root-filesystem.ts';
import { nanoseconds } from './status-messages.ts';

type BaseLabels = Readonly<Record<(typeof BASE_LABELS)[number], string>>;

/** The same for as long as the runtime runs. */
export async function listMetricDescriptors(): Promise<Draft<ListMetricDescriptorsResponse>> {
  const descriptors = Object.entries(METRIC_KINDS).map(([name, { help, labels }]) => ({
    name,
    help,
    labelKeys: [...BASE_LABELS, ...labels],
  }));
  return { descriptors };
}

/** Measures one sandbox after the other: a crowded node costs time, never a stall of everybody else. */
export async function listPodSandboxMetrics(
  shim: Shim,
  signal: AbortSignal,
): Promise<Draft<ListPodSandboxMetricsResponse>> {
  const podMetrics: Draft<PodSandboxMetrics>[] = [];
  for (const { id, phase } of shim.store.sandboxes.list()) {
    const metrics = phase === 'ready' ? await measurePod(shim, id, signal) : undefined;
    if (metrics) podMetrics.push(metrics);
  }
  return { podMetrics };
}

/** Network of the sandbox, everything else of its running containers; undefined when it is not ready (any more). */
export async function measurePod(
  shim: Shim,
  sandboxId: string,
  signal: AbortSignal,
): Promise<Draft<PodSandboxMetrics> | undefined> {
  signal.throwIfAborted();
  const sandbox = shim.store.sandboxes.get(sandboxId);
  if (sandbox?.phase !== 'ready') return undefined;
  const { net } = sandbox.namespaces;
  const links = net === undefined ? [] : readLinkCounters(net);
  const filesystem = await describeFilesystem(shim.instance.home);
  const containerMetrics: { containerId: string; metrics: Metric[] }[] = [];
  for (const record of containersOf(shim, sandboxId).filter(({ phase }) => phase === 'running')) {
    const metrics = await measureContainer(shim, sandbox, record, filesystem, signal);
    if (metrics) containerMetrics.push({ containerId: record.id, metrics });
  }
  const metrics = toMetrics(shim, networkSamples(links), sandboxLabels(shim, sandbox));
  return { podSandboxId: sandboxId, metrics, containerMetrics };
}

async function measureContainer(
  shim: Shim,
  sandbox: SandboxRecord,
  record: ContainerRecord,
  filesystem: FilesystemSize,
  signal: AbortSignal,
): Promise<Metric[] | undefined> {
  const measures = shim.cgroups.measures(record.cgroupsPath);
  if (!measures) return undefined;
  const pids = shim.cgroups.pids(record.cgroupsPath);
  const [counts, openFilesLimit, usage] = await Promise.all([
    countDescriptors(pids, signal),
    record.init && isRunning(record.init) ? readOpenFilesLimit(record.init.pid) : undefined,
    shim.images.rootFilesystem(rootFilesystemId(record))?.usage(),
  ]);
  const samples = containerSamples({
    nowMs: shim.clock.now(),
    startedAtMs: record.startedAtMs,
    measures,
    processes: { count: pids.length, ...counts },
    openFilesLimit,
    filesystem: { ...filesystem, usedBytes: usage?.usedBytes },
    deviceName: blockDeviceName,
  });
  return toMetrics(shim, samples, containerLabels(sandbox, record));
}

function toMetrics(shim: Shim, samples: readonly Sample[], base: BaseLabels): Metric[] {
  const timestamp = nanoseconds(shim.clock.now());
  const common = BASE_LABELS.map((key) => base[key]);
  return samples.map(({ name, value, labels }) => ({
    name,
    timestamp,
    metricType: METRIC_KINDS[name].type,
    labelValues: [...common, ...labels],
    value: { value },
  }));
}

/** `POD` stands for the sandbox itself, as cAdvisor calls it. */
function sandboxLabels(shim: Shim, { id, config }: SandboxRecord): BaseLabels {
  return {
    container: 'POD',
    id: config.linux?.cgroupParent || shim.cgroupParent,
    image: '',
    name: id,
    namespace: config.metadata?.namespace ?? '',
    pod: config.metadata?.name ?? '',
  };
}

function containerLabels(sandbox: SandboxRecord, { id, cgroupsPath, config }: ContainerRecord): BaseLabels {
  return {
    container: config.metadata?.name ?? '',
    id: cgroupsPath,
    image: config.image?.userSpecifiedImage || config.image?.image || '',
    name: id,
    namespace: sandbox.config.metadata?.namespace ?? '',
    pod: sandbox.config.metadata?.name ?? '',
  };
}
