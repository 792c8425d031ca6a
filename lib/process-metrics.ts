// The process_* and nodejs_* metrics that prom-client calls the default ones, without what loads OpenTelemetry for them.
import Counter from 'prom-client/lib/counter.js';
import eventLoopLag from 'prom-client/lib/metrics/eventLoopLag.js';
import gc from 'prom-client/lib/metrics/gc.js';
import heapSizeAndUsed from 'prom-client/lib/metrics/heapSizeAndUsed.js';
import heapSpacesSizeAndUsed from 'prom-client/lib/metrics/heapSpacesSizeAndUsed.js';
import osMemoryHeap from 'prom-client/lib/metrics/osMemoryHeap.js';
import processHandles from 'prom-client/lib/metrics/processHandles.js';
import processMaxFileDescriptors from 'prom-client/lib/metrics/processMaxFileDescriptors.js';
import processOpenFileDescriptors from 'prom-client/lib/metrics/processOpenFileDescriptors.js';
import processRequests from 'prom-client/lib/metrics/processRequests.js';
import processResources from 'prom-client/lib/metrics/processResources.js';
import processStartTime from 'prom-client/lib/metrics/processStartTime.js';
import version from 'prom-client/lib/metrics/version.js';
import type Registry from 'prom-client/lib/registry.js';

/** How often the delay of the event loop is looked at, in milliseconds. */
const EVENT_LOOP_PRECISION_MS = 10;

const COLLECTORS = [
  ...[processStartTime, osMemoryHeap, processOpenFileDescriptors, processMaxFileDescriptors, eventLoopLag],
  ...[processResources, processHandles, processRequests, heapSizeAndUsed, heapSpacesSizeAndUsed, version, gc],
];

/** Adds the metrics of this process and of its Node to `registry`. */
export function watchProcess(registry: Registry): void {
  countProcessorTime(registry);
  for (const collect of COLLECTORS) collect(registry, { eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
}

function countProcessorTime(registry: Registry): void {
  const count = (name: string, help: string, readMicroseconds: () => number): Counter =>
    new Counter({
      ...{ name, help, registers: [registry] },
      collect() {
        this.reset();
        this.inc(readMicroseconds() / 1e6);
      },
    });
  count('process_cpu_user_seconds_total', 'Total user CPU time spent in seconds.', () => process.cpuUsage().user);
  count('process_cpu_system_seconds_total', 'Total system CPU time spent in seconds.', () => process.cpuUsage().system);
  count('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  });
}
