// Adds the Pod view to an API server: the resource and its subresources.
import type { ApiServer } from '../server.ts';
import { createAgentConnections, type AgentTls } from './agent-connection.ts';
import { createEvictionHandler } from './eviction-handler.ts';
import { createExecHandler, createRefusingHandler } from './exec-handler.ts';
import { createLogHandler } from './log-handler.ts';
import { podResource } from './pod-resource.ts';

/** Registers v1 pods; `tls` is what this server shows to agents. */
export function installPods(server: Pick<ApiServer, 'store' | 'registry' | 'addSubresource'>, tls: AgentTls): void {
  const { store } = server;
  const agents = createAgentConnections(tls);
  server.registry.set('pods', [podResource()]);
  server.addSubresource(createLogHandler(store, agents));
  server.addSubresource(createExecHandler(store, agents));
  server.addSubresource(createRefusingHandler('attach'));
  server.addSubresource(createRefusingHandler('portforward'));
  server.addSubresource(createEvictionHandler(store, server.registry));
}
