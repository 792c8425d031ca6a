// Adds the views for kubectl's pod commands to an API server: pods with their subresources, and daemonsets.
import type { ApiServer } from '../server.ts';
import { createAgentConnections, type AgentTls } from './agent-connection.ts';
import { daemonSetResource } from './daemon-set-resource.ts';
import { createEvictionHandler } from './eviction-handler.ts';
import { createLogHandler } from './log-handler.ts';
import { podResource } from './pod-resource.ts';
import { createStreamHandler } from './stream-handler.ts';

/** Registers v1 pods and apps/v1 daemonsets; `tls` is what this server shows to agents. */
export function installPods(server: Pick<ApiServer, 'store' | 'registry' | 'addSubresource'>, tls: AgentTls): void {
  const { store } = server;
  const agents = createAgentConnections(tls);
  server.registry.set('pods', [podResource()]);
  server.registry.set('daemonsets', [daemonSetResource()]);
  server.addSubresource(createLogHandler(store, agents));
  for (const name of ['exec', 'attach', 'portforward'] as const) {
    server.addSubresource(createStreamHandler(name, store, agents));
  }
  server.addSubresource(createEvictionHandler(store, server.registry));
}
