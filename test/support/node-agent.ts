// The whole node agent in the process of a test, against a test's API server; its runtime is given.
import { runAgent } from '../../controllers/node-agent/agent.ts';
import type { AgentOptions } from '../../controllers/node-agent/agent.ts';
import { createLogger, silentLogger } from '../../lib/log.ts';
import { createAuthority, issueCertificate } from '../../lib/pki.ts';
import type { TestApiserver } from './apiserver.ts';
import { nodeAgentOptions } from './node-agent-options.ts';

/** PEM: what one side shows, and the authority it trusts. */
export type AgentTls = AgentOptions['tls'];

/** The certificates between the API server and agents on loopback. */
export interface AgentAuthority {
  /** For installPods(). */
  readonly apiserver: AgentTls;
  serving(nodeName: string): Promise<AgentTls>;
}

/** Makes an authority of its own, as clusters have one, too. */
export async function createAgentAuthority(): Promise<AgentAuthority> {
  const of = { days: 1, now: Date.now() };
  const authority = await createAuthority('agents', of.days, of.now);
  const issue = async (commonName: string, usage: 'client' | 'server'): Promise<AgentTls> => {
    const hosts = usage === 'server' ? ['127.0.0.1'] : [];
    return { ...(await issueCertificate(authority, { commonName, usage, hosts, ...of })), ca: authority.cert };
  };
  return {
    apiserver: await issue('windlass:apiserver', 'client'),
    serving: (nodeName) => issue(`system:node:${nodeName}`, 'server'),
  };
}

/** Starts the agent of `nodeName`, with its folders in `folder`; one that was stopped may be started again there. */
export async function startTestAgent(
  api: TestApiserver,
  { authority, ...given }: Pick<AgentOptions, 'nodeName' | 'runtime'> & { folder: string; authority: AgentAuthority },
): Promise<AsyncDisposable & { stop(): Promise<void> }> {
  const { nodeName } = given;
  const level = process.env['WINDLASS_TEST_LOG'];
  const kubeconfig = await api.writeKubeconfig(nodeName, await api.issue(`system:node:${nodeName}`, ['system:nodes']));
  const tls = await authority.serving(nodeName);
  const log = level ? createLogger('node-agent', level) : silentLogger();
  const stopping = new AbortController();
  const running = runAgent(nodeAgentOptions({ ...given, kubeconfig, tls, log }), stopping.signal);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  return { stop, [Symbol.asyncDispose]: stop };
}
