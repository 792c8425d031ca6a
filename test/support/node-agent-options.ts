// A node agent inside the process of a test or a bench: everything on loopback, its folders below one.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import type { AgentOptions } from '../../controllers/node-agent/agent.ts';
import { systemClock } from '../../lib/clock.ts';
import { describeInstance } from '../../lib/instance.ts';
import { createMetrics } from '../../lib/metrics.ts';

/** Its options; makes its two folders in `folder`. `kubeconfig` is the path of what the node has. */
export function nodeAgentOptions({
  folder,
  kubeconfig,
  ...given
}: Pick<AgentOptions, 'nodeName' | 'runtime' | 'tls' | 'log'> & {
  readonly folder: string;
  readonly kubeconfig: string;
}): AgentOptions {
  const [home, run] = [join(folder, 'home'), join(folder, 'run')];
  for (const each of [home, run]) mkdirSync(each, { recursive: true });
  return {
    ...given,
    instance: describeInstance(home, run),
    diskReserve: { maxBytes: 0 },
    connection: readKubeconfig(kubeconfig),
    nodeIps: [],
    leaseSeconds: 40,
    listen: { host: '127.0.0.1', port: 0 },
    metricsListen: { host: '127.0.0.1', port: 0 },
    registry: createMetrics(),
    clock: systemClock,
  };
}
