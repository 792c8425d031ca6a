// Asks the agents of some nodes for the use of CPU and memory there.
import { z } from 'zod';
import { agentAddressOf } from '../../crds/agent-address.ts';
import type { Node } from '../../crds/builtin.ts';
import type { UsageReport } from '../../crds/usage.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { AgentConnections } from '../pods/agent-connection.ts';
import { readBody } from '../pods/read-body.ts';

/** An agent that takes longer has no say in this answer. */
const TIMEOUT_MS = 5_000;

/** Some 20,000 Containers. */
const MAX_REPORT_BYTES = 4 * 1024 * 1024;

/** The end of the year 9999, the last that RFC 3339 can say. */
const LAST_MS = Date.UTC(10_000, 0) - 1;

/** What cannot be on any machine is no report: a node must not spoil the answer about the others. */
const usage = {
  cpuCores: z.number().min(0).max(1_000_000),
  memoryBytes: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
  atMs: z.number().min(0).max(LAST_MS),
  windowMs: z.number().min(0).max(LAST_MS),
};
const Report = z.object({
  node: z.object(usage),
  containers: z.array(z.object({ namespace: z.string(), name: z.string(), uid: z.string(), ...usage })),
});

export interface CollectDeps {
  readonly agents: Pick<AgentConnections, 'get'>;
  readonly log: Logger;
}

/** Reports by the name of the node. What cannot be asked is left out, as metrics-server does: an answer late is no answer. */
export async function collectUsage(
  { agents, log }: CollectDeps,
  nodes: readonly Node[],
  signal: AbortSignal,
): Promise<Map<string, UsageReport>> {
  const reports = new Map<string, UsageReport>();
  await Promise.all(
    nodes.map(async (node) => {
      const { name } = node.metadata;
      try {
        const stop = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
        const response = await agents.get(agentAddressOf(node), '/usage', stop);
        if (response.statusCode !== 200) {
          response.resume();
          throw new WindlassError('Unavailable', `the agent answered ${response.statusCode}`);
        }
        reports.set(name, Report.parse(JSON.parse(await readBody(response, MAX_REPORT_BYTES))));
      } catch (error) {
        signal.throwIfAborted();
        log.debug({ node: name, err: messageOf(error) }, 'no usage from a node');
      }
    }),
  );
  return reports;
}
