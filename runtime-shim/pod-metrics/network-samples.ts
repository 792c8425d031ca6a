import type { LinkCounters } from '../network/counters.ts';
import type { MetricName, Sample } from './descriptors.ts';

/** Traffic of a sandbox, per link. */
export function networkSamples(links: readonly LinkCounters[]): Sample[] {
  return links.flatMap((link) => {
    const one = (name: MetricName, value: number): Sample => ({ name, value, labels: [link.name] });
    return [
      one('container_network_receive_bytes_total', link.rxBytes),
      one('container_network_receive_packets_total', link.rxPackets),
      one('container_network_receive_errors_total', link.rxErrors),
      one('container_network_receive_packets_dropped_total', link.rxDropped),
      one('container_network_transmit_bytes_total', link.txBytes),
      one('container_network_transmit_packets_total', link.txPackets),
      one('container_network_transmit_errors_total', link.txErrors),
      one('container_network_transmit_packets_dropped_total', link.txDropped),
    ];
  });
}
