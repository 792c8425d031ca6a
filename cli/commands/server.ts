import { existsSync } from 'node:fs';
import { createApiClient } from '../../client/api-client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { keyHashOf } from '../../lib/certificate-request.ts';
import { loadConfig } from '../../lib/config.ts';
import { paths } from '../../lib/instance.ts';
import type { Command, CommandContext } from '../command.ts';
import { planServer } from '../components.ts';
import { EXIT } from '../exit-codes.ts';
import { serverSteps } from '../next-steps.ts';
import {
  controlPlaneFlags,
  instanceFlags,
  instanceOf,
  machineFlags,
  NO_REGISTRY,
  serverOptions,
  type ServerOptions,
} from '../options.ts';
import { prepareInstance, runDetached, runInForeground, withoutFlags, type InstanceCommand } from '../run-instance.ts';
import { advertisedUrl, prepareControlPlane } from '../server-plan.ts';
import { renderJoinCommand } from '../tokens/render.ts';
import { createToken, listTokens } from '../tokens/tokens.ts';

const server: InstanceCommand = { name: 'server', nextSteps: serverSteps };
const FIRST_TOKEN = { description: 'made by the first start of the server', ttlSeconds: 24 * 3600, uses: undefined };

export const serverCommand: Command = {
  name: 'server',
  summary: 'Start the control plane alone, for other machines to join',
  usage: 'windlass server [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--listen HOST:PORT', text: 'API server address (default 0.0.0.0:6443: all addresses of this machine)' },
    ...controlPlaneFlags,
    ...machineFlags,
  ],
  examples: ['windlass server', 'windlass server --detach --advertise 10.0.0.1'],
  async run(context) {
    const { config } = loadConfig(serverOptions, context);
    const instance = instanceOf(config);
    const programs = config.etcdServers === undefined ? ['etcd'] : [];
    await prepareInstance(
      instance,
      { command: 'server', listen: config.listen, registryListen: config.registryListen, programs },
      context,
    );
    // Later starts may be at boot, into a log, which is no place for a token.
    const isFirst = !existsSync(paths.adminKubeconfig(instance));
    const tell = (): Promise<void> => printJoinCommand(config, isFirst, context);
    if (config.detach) {
      const argv = withoutFlags(context.argv, [{ name: '--detach', hasValue: false }]);
      const options = { timeoutSeconds: config.timeoutSeconds, argv, env: { WINDLASS_IS_BEHIND: 'true' } };
      const code = await runDetached(instance, server, options, context);
      if (code === EXIT.ok) await tell();
      return code;
    }
    return runInForeground(
      instance,
      server,
      async () => {
        const { kubeconfig, url, etcdPorts } = await prepareControlPlane(instance, config);
        return {
          components: planServer(instance, config, etcdPorts),
          ...{ url, kubeconfig },
          ...(etcdPorts ? { etcdMetrics: `127.0.0.1:${etcdPorts.metrics}` } : {}),
          ...(config.registryListen === NO_REGISTRY ? {} : { registryListen: config.registryListen }),
        };
      },
      context,
      // Behind a parent, it is the parent that prints: a log is no place for a token.
      config.isBehind ? undefined : tell,
    );
  },
};

/** Whoever has started a server before, or beside another one, has been told how to join. */
async function printJoinCommand(
  config: ServerOptions,
  isFirst: boolean,
  { output, signal }: CommandContext,
): Promise<void> {
  const connection = readKubeconfig(paths.adminKubeconfig(instanceOf(config)));
  const client = createApiClient(connection);
  try {
    if (!isFirst || (await listTokens(client, signal)).length > 0) {
      output.note('\nAnother machine joins with what this prints: windlass token create --print-join-command');
      return;
    }
    const token = await createToken(client, { ...FIRST_TOKEN, now: Date.now() }, signal);
    const url = advertisedUrl(config.listen, config.advertise);
    output.note('\nAnother machine joins, within 24 hours, with:');
    output.print(renderJoinCommand({ url, token, caHash: keyHashOf(connection.ca ?? '') }));
  } finally {
    await client.close();
  }
}
