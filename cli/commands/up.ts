import { loadConfig } from '../../lib/config.ts';
import { parseNodeIps } from '../../lib/node-address.ts';
import type { Command } from '../command.ts';
import { planComponents } from '../components.ts';
import { serverSteps } from '../next-steps.ts';
import {
  controlPlaneFlags,
  instanceFlags,
  instanceOf,
  machineFlags,
  NO_REGISTRY,
  upOptions,
  workerFlags,
} from '../options.ts';
import { NODE_PROGRAMS } from '../preflight.ts';
import { prepareInstance, runDetached, runInForeground, withoutFlags, type InstanceCommand } from '../run-instance.ts';
import { prepareControlPlane } from '../server-plan.ts';

const up: InstanceCommand = { name: 'up', nextSteps: serverSteps };

export const upCommand: Command = {
  name: 'up',
  summary: 'Start everything on this machine and keep it running',
  usage: 'windlass up [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--listen HOST:PORT', text: 'API server address (default 127.0.0.1:6443)' },
    ...controlPlaneFlags,
    ...workerFlags,
    ...machineFlags,
  ],
  examples: [
    'windlass up',
    'windlass up --detach',
    'windlass up --listen 0.0.0.0:6443 --node-ip 10.0.0.1',
    'windlass up --home /srv/windlass --run /run/windlass-two --listen 127.0.0.1:7443',
  ],
  async run(context) {
    const { config } = loadConfig(upOptions, context);
    const instance = instanceOf(config);
    const programs = [...(config.etcdServers === undefined ? ['etcd'] : []), ...NODE_PROGRAMS];
    await prepareInstance(
      instance,
      { command: 'up', listen: config.listen, registryListen: config.registryListen, programs },
      context,
    );
    if (config.detach) {
      const argv = withoutFlags(context.argv, [{ name: '--detach', hasValue: false }]);
      return runDetached(instance, up, { timeoutSeconds: config.timeoutSeconds, argv }, context);
    }
    return runInForeground(
      instance,
      up,
      async () => {
        const ips = config.nodeIp === undefined ? [] : parseNodeIps(config.nodeIp);
        const { kubeconfig, url, etcd, refresh } = await prepareControlPlane(instance, config, {
          name: config.nodeName,
          ips,
        });
        return {
          components: planComponents(instance, config, etcd),
          ...{ url, kubeconfig, refresh, nodeName: config.nodeName },
          ...(etcd ? { etcdMetrics: `127.0.0.1:${etcd.ports.metrics}` } : {}),
          ...(config.registryListen === NO_REGISTRY ? {} : { registryListen: config.registryListen }),
        };
      },
      context,
    );
  },
};
