// The node agent's process: options, signals, and the agent itself.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { createCriClient } from '../../cri/client.ts';
import { systemClock } from '../../lib/clock.ts';
import { loadConfig } from '../../lib/config.ts';
import { messageOf } from '../../lib/errors.ts';
import { parseHostPort } from '../../lib/host-port.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { createLogger } from '../../lib/log.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { parseNodeIps, requireOwnAddresses } from '../../lib/node-address.ts';
import { runAgent } from './agent.ts';
import { agentListen, NodeAgentConfig } from './config.ts';
import { createCriRuntime } from './runtime/cri-runtime.ts';
import { toleratePlainCri } from './runtime/plain-cri.ts';
import { createRuntimeMetrics } from './runtime/runtime-metrics.ts';

async function main(): Promise<void> {
  const { config } = loadConfig(NodeAgentConfig, { argv: process.argv.slice(2), env: process.env });
  const log = createLogger('node-agent', config.logLevel);
  log.info({ config }, 'starting');
  const instance = describeInstance(config.home, config.run);
  const pki = paths.pki(instance);
  const kubeconfig = config.kubeconfig ?? join(pki, 'node.kubeconfig');
  if (!existsSync(kubeconfig)) throw new Error(`kubeconfig ${kubeconfig} does not exist: give --kubeconfig`);
  const nodeIps = config.nodeIp === undefined ? [] : parseNodeIps(config.nodeIp);
  requireOwnAddresses(nodeIps);
  const registry = createMetrics();
  const cri = createCriClient({ socketPath: config.criSocket ?? paths.criSocket(instance) });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(1);
      log.info({ signal }, 'stopping; containers keep running');
      stop.abort();
    });
  }
  const read = (name: string): string => readFileSync(join(pki, name), 'utf8');
  await runAgent(
    {
      instance,
      nodeName: config.nodeName,
      diskReserve: { maxBytes: config.diskReserve },
      connection: {
        ...readKubeconfig(kubeconfig),
        ...(config.otherServers ? { otherServers: config.otherServers.split(',') } : {}),
      },
      runtime: toleratePlainCri(createCriRuntime(cri, createRuntimeMetrics(registry)), cri),
      nodeIps,
      leaseSeconds: config.nodeLeaseSeconds,
      listen: agentListen(config, nodeIps),
      metricsListen: parseHostPort(config.metricsListen),
      tls: { cert: read('node-agent.crt'), key: read('node-agent.key'), ca: read('ca.crt') },
      registry,
      clock: systemClock,
      log,
    },
    stop.signal,
  );
  cri[Symbol.dispose]();
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : undefined;
    process.stderr.write(
      `${JSON.stringify({ level: 'fatal', component: 'node-agent', msg: messageOf(error), cause })}\n`,
    );
    process.exit(1);
  },
);
