// kubelet_*, machine_* and cAdvisor's container_* metrics of this node, by the names dashboards know.
import { Gauge, Histogram, type Registry } from '../../../lib/metrics.ts';
import type {
  ContainerState,
  ContainerUsage,
  NodeRuntime,
  SandboxState,
  SandboxUsage,
} from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';

export interface NodeMetrics {
  /** Seconds from the creation of a Container to its first run. */
  readonly observeStart: (seconds: number) => void;
  /** Exposition text of the containers' use of resources, asked from the runtime at each scrape. */
  readonly collectContainers: () => Promise<string>;
}

/** Registers the metrics. */
export function createNodeMetrics(
  registry: Registry,
  deps: {
    readonly runtime: Pick<NodeRuntime, 'containerUsage' | 'sandboxUsage'>;
    readonly cache: RuntimeCache;
    readonly nodeName: string;
    readonly cpus: number;
    readonly memoryBytes: number;
  },
): NodeMetrics {
  const { cache, runtime } = deps;
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  gauge(
    'kubelet_running_pods',
    'Sandboxes that are ready',
    () => cache.sandboxes().filter(({ isReady }) => isReady).length,
  );
  gauge('machine_cpu_cores', 'Logical CPUs', () => deps.cpus);
  gauge('machine_memory_bytes', 'Memory of the machine', () => deps.memoryBytes);
  new Gauge({
    name: 'kubelet_running_containers',
    help: 'Containers by state',
    labelNames: ['container_state'],
    registers,
    collect() {
      for (const state of ['Created', 'Running', 'Exited', 'Unknown'] as const) {
        this.set(
          { container_state: state.toLowerCase() },
          cache.containers().filter((one) => one.state === state).length,
        );
      }
    },
  });
  new Gauge({ name: 'kubelet_node_name', help: 'The name of the node', labelNames: ['node'], registers }).set(
    { node: deps.nodeName },
    1,
  );
  const start = new Histogram({
    name: 'kubelet_pod_start_duration_seconds',
    help: 'Time from the creation of a Container to its first run',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300],
    registers,
  });
  return {
    observeStart: (seconds) => start.observe(seconds),
    async collectContainers() {
      // A scrape while the runtime is away still answers everything else.
      const [containers, sandboxes] = await Promise.all([
        runtime.containerUsage().catch(() => []),
        runtime.sandboxUsage().catch(() => []),
      ]);
      return renderContainerMetrics({ containers, sandboxes, cache, nowSeconds: Date.now() / 1000 });
    },
  };
}

interface Usage {
  readonly containers: readonly ContainerUsage[];
  readonly sandboxes: readonly SandboxUsage[];
  readonly cache: {
    container(id: string): ContainerState | undefined;
    sandboxOf(container: ContainerState): SandboxState | undefined;
  };
  readonly nowSeconds: number;
}

/** The exposition text of cAdvisor's metrics. Pure. */
export function renderContainerMetrics({ containers, sandboxes, cache, nowSeconds }: Usage): string {
  const families = new Map<string, string[]>();
  const add = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    labels: Record<string, string>,
    value: number,
  ): void => {
    let lines = families.get(name);
    if (!lines) families.set(name, (lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`]));
    const text = Object.entries(labels).map(([key, label]) => `${key}="${escapeLabel(label)}"`);
    lines.push(`${name}{${text.join(',')}} ${value}`);
  };
  for (const usage of containers) {
    const state = cache.container(usage.containerId);
    const sandbox = state && cache.sandboxOf(state);
    const labels = {
      namespace: sandbox?.namespace ?? usage.labels['io.kubernetes.pod.namespace'] ?? '',
      pod: sandbox?.name ?? usage.labels['io.kubernetes.pod.name'] ?? '',
      container: usage.name,
      id: usage.containerId,
    };
    add(
      'container_cpu_usage_seconds_total',
      'counter',
      'CPU time',
      { ...labels, cpu: 'total' },
      usage.cpuNanoSeconds / 1e9,
    );
    add(
      'container_memory_working_set_bytes',
      'gauge',
      'Memory that cannot be freed at once',
      labels,
      usage.workingSetBytes,
    );
    add('container_memory_usage_bytes', 'gauge', 'Memory with the page cache', labels, usage.usageBytes);
    add('container_memory_rss', 'gauge', 'Anonymous memory', labels, usage.rssBytes);
    add('container_fs_usage_bytes', 'gauge', 'Bytes of the writable layer', labels, usage.writableBytes);
    add('container_last_seen', 'gauge', 'When it was last looked at', labels, Math.floor(nowSeconds));
    if (state)
      add('container_start_time_seconds', 'gauge', 'When it was started', labels, Math.floor(state.startedAtMs / 1000));
  }
  for (const usage of sandboxes) {
    for (const one of usage.interfaces) {
      const labels = { namespace: usage.namespace, pod: usage.name, interface: one.name };
      add('container_network_receive_bytes_total', 'counter', 'Bytes received', labels, one.rxBytes);
      add('container_network_transmit_bytes_total', 'counter', 'Bytes sent', labels, one.txBytes);
      add('container_network_receive_errors_total', 'counter', 'Errors while receiving', labels, one.rxErrors);
      add('container_network_transmit_errors_total', 'counter', 'Errors while sending', labels, one.txErrors);
    }
  }
  return [...families.values()].map((lines) => `${lines.join('\n')}\n`).join('');
}

const escapeLabel = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
