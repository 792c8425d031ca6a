// Metrics of the shim.
import { Counter, Gauge, Histogram, type Registry } from '../lib/metrics.ts';
import type { NodeNetwork } from './network/node-network.ts';
import type { Shim } from './rpc/deps.ts';

export interface ShimMetrics {
  /** `RuntimeService/Version`, seconds, gRPC code name. */
  observeCall(method: string, seconds: number, code: string): void;
  /** Bytes of images that came from other nodes, mirrors or registries. */
  observeReceived(source: 'peer' | 'mirror' | 'registry', bytes: number): void;
  /** Counts what `shim` holds at each scrape. */
  watch(shim: Shim): void;
}

export function createShimMetrics(registry: Registry): ShimMetrics {
  const calls = new Histogram({
    name: 'windlass_shim_rpc_duration_seconds',
    help: 'Duration of the calls served, by method and gRPC code.',
    labelNames: ['method', 'code'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [registry],
  });
  const received = new Counter({
    name: 'windlass_shim_image_received_bytes_total',
    help: 'Bytes of images received, by where they came from.',
    labelNames: ['source'],
    registers: [registry],
  });
  for (const source of ['peer', 'mirror', 'registry']) received.inc({ source }, 0);
  return {
    observeReceived: (source, bytes) => received.inc({ source }, bytes),
    observeCall: (method, seconds, code) => calls.observe({ method, code }, seconds),
    watch(shim) {
      const count = (name: string, help: string, phases: readonly string[], list: () => readonly { phase: string }[]) =>
        new Gauge({
          name,
          help,
          labelNames: ['state'],
          registers: [registry],
          collect() {
            for (const state of phases) this.set({ state }, list().filter(({ phase }) => phase === state).length);
          },
        });
      count('windlass_shim_containers', 'Containers by state.', ['created', 'running', 'exited'], () =>
        shim.store.containers.list(),
      );
      count('windlass_shim_sandboxes', 'Sandboxes by state.', ['ready', 'stopped'], () => shim.store.sandboxes.list());
      watchPeers(registry, shim.network);
      watchRelays(registry, shim.network);
    },
  };
}

/** A counter whose value is kept elsewhere. */
function total(registry: Registry, name: string, help: string, read: () => number): Counter {
  return new Counter({
    ...{ name, help, registers: [registry] },
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

function watchRelays(registry: Registry, { relays }: Pick<NodeNetwork, 'relays'>): void {
  new Gauge({
    name: 'windlass_shim_relay_connections',
    help: 'Open connections that get a PROXY header.',
    registers: [registry],
    collect() {
      this.set(relays().open);
    },
  });
  const count = (name: string, help: string, read: () => number): Counter =>
    total(registry, `windlass_shim_relay_${name}_total`, help, read);
  count('accepted', 'Connections taken to be relayed.', () => relays().accepted);
  count('refused', 'Connections refused because too many were open.', () => relays().refused);
  count('failed', 'Relayed connections that no replica took.', () => relays().failed);
}

function watchPeers(registry: Registry, network: Pick<NodeNetwork, 'probes'>): void {
  new Gauge({
    name: 'windlass_shim_peers',
    help: "Other nodes of the ingress network by what this one's probes say of them.",
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const { answering, silent, unknown } = network.probes();
      for (const [state, value] of Object.entries({ answering, silent, unknown })) this.set({ state }, value);
    },
  });
  total(registry, 'windlass_shim_peer_probes_total', 'Probes sent to other nodes.', () => network.probes().sent);
  total(registry, 'windlass_shim_peer_answers_total', 'Answers to probes.', () => network.probes().answered);
  total(
    registry,
    'windlass_shim_peer_silences_total',
    'Times that a node fell silent.',
    () => network.probes().silences,
  );
}
