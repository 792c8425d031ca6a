// Adds what the agents answer to an API server: the views for kubectl's pod commands (pods with their subresources,
// daemonsets), the use of resources, the logs of builds, and archives that are uploaded.
import type { ApiServer } from '../server.ts';
import { metricsHandlers, metricsResources } from '../usage/metrics-handlers.ts';
import { createArchiveUpload, DEFAULT_ARCHIVE_LIMITS, type ArchiveLimits } from '../archives/upload-handler.ts';
import { createBuildLogHandler } from '../images/log-handler.ts';
import { archiveResource } from '../resources/builtin/archive.ts';
import { createAgentConnections, type AgentTls } from './agent-connection.ts';
import { daemonSetResource } from './daemon-set-resource.ts';
import { createEvictionHandler } from './eviction-handler.ts';
import { createLogHandler } from './log-handler.ts';
import { podResource } from './pod-resource.ts';
import { createStreamHandler } from './stream-handler.ts';

/** Registers v1 pods, apps/v1 daemonsets and metrics.k8s.io; `tls` is what this server shows to agents. */
export function installPods(
  server: Pick<ApiServer, 'store' | 'registry' | 'addSubresource' | 'addUpload' | 'log' | 'clock'>,
  tls: AgentTls,
  limits: ArchiveLimits = DEFAULT_ARCHIVE_LIMITS,
): void {
  const { store, log, clock } = server;
  const agents = createAgentConnections(tls);
  server.registry.set('pods', [podResource()]);
  server.registry.set('daemonsets', [daemonSetResource()]);
  server.addSubresource(createLogHandler(store, agents));
  server.addSubresource(createBuildLogHandler(store, agents));
  server.addUpload(createArchiveUpload({ store, resource: archiveResource(), agents, clock, limits }));
  for (const name of ['exec', 'attach', 'portforward'] as const) {
    server.addSubresource(createStreamHandler(name, store, agents));
  }
  server.addSubresource(createEvictionHandler(store, server.registry));
  server.registry.set('metrics', metricsResources());
  for (const handler of metricsHandlers({ store, agents, log })) server.addSubresource(handler);
}
