import { join } from 'node:path';
import { loadConfig } from '../../lib/config.ts';
import { paths } from '../../lib/instance.ts';
import { firstOwnAddress, isReachable, linkOfAddress } from '../../lib/node-address.ts';
import type { Command } from '../command.ts';
import { planNode } from '../components.ts';
import { claimFolders } from '../instance-folders.ts';
import { joinCluster } from '../join/join.ts';
import { nodeSteps } from '../next-steps.ts';
import { instanceFlags, instanceOf, joinFlags, machineFlags, nodeOptions, workerFlags } from '../options.ts';
import { NODE_PROGRAMS } from '../preflight.ts';
import {
  JOIN_FRONT_FLAGS,
  prepareInstance,
  runDetached,
  runInForeground,
  withoutFlags,
  type InstanceCommand,
} from '../run-instance.ts';

const node: InstanceCommand = { name: 'node', nextSteps: nodeSteps };

/** The address by which the machine joined, as long as it has it: one that has moved is reached where it is now. */
function currentAddress(joinedBy: string | undefined): string | undefined {
  if (joinedBy === undefined || linkOfAddress(joinedBy) !== undefined) return joinedBy;
  const address = firstOwnAddress();
  return isReachable(address) ? address : undefined;
}

export const nodeCommand: Command = {
  name: 'node',
  summary: 'Join this machine to a server as a node, and keep it running',
  usage: 'windlass node --server URL --token TOKEN --ca-hash sha256:HASH [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--server URLS', text: 'https://host:port of the API server; several with commas between them' },
    ...joinFlags,
    ...workerFlags,
    ...machineFlags,
  ],
  examples: [
    'windlass node --server https://10.0.0.1:6443 --token-file token --ca-hash sha256:1f2e...',
    'windlass node --detach          (once joined: nothing needs to be said again)',
  ],
  async run(context) {
    const { config } = loadConfig(nodeOptions, context);
    const instance = instanceOf(config);
    const programs = config.criSocket === undefined ? NODE_PROGRAMS : [];
    await prepareInstance(instance, { command: 'node', programs }, context);
    claimFolders(instance);
    const joined = await joinCluster(instance, config, context);
    if (config.detach) {
      const argv = withoutFlags(context.argv, JOIN_FRONT_FLAGS);
      return runDetached(instance, node, { timeoutSeconds: config.timeoutSeconds, argv }, context);
    }
    const { servers, nodeName, ownAddress } = joined;
    const nodeIp = config.nodeIp ?? currentAddress(ownAddress);
    return runInForeground(
      instance,
      node,
      async () => ({
        otherServers: servers.slice(1),
        components: planNode(
          instance,
          { ...config, nodeName, nodeIp },
          { isBesideServer: false, otherServers: servers.slice(1) },
        ),
        ...{ url: servers[0] ?? '', kubeconfig: join(paths.pki(instance), 'node.kubeconfig'), nodeName },
      }),
      context,
    );
  },
};
