// What nodes give each other, as metrics; what this one received is counted by its runtime.
import { Counter, Histogram, type Registry } from '../../../lib/metrics.ts';

export interface PeerMetrics {
  readonly onSent: (bytes: number) => void;
  /** Asked who has a blob. */
  readonly onLook: (result: 'found' | 'none', seconds: number) => void;
}

/** Registers the metrics. */
export function createPeerMetrics(registry: Registry): PeerMetrics {
  const registers = [registry];
  const sent = new Counter({
    name: 'windlass_node_agent_peer_sent_bytes_total',
    help: 'Bytes of images sent to other nodes.',
    registers,
  });
  const looks = new Histogram({
    name: 'windlass_node_agent_peer_look_duration_seconds',
    help: 'How long it took to find out which other nodes have a blob, by whether any has.',
    labelNames: ['result'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  return {
    onSent: (bytes) => sent.inc(bytes),
    onLook: (result, seconds) => looks.observe({ result }, seconds),
  };
}
