import { existsSync } from 'node:fs';
import { createApiClient } from '../../client/api-client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { keyHashOf } from '../../lib/certificate-request.ts';
import { loadConfig } from '../../lib/config.ts';
import { WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { Command, CommandContext } from '../command.ts';
import { planServer } from '../components.ts';
import { EXIT } from '../exit-codes.ts';
import { claimFolders } from '../instance-folders.ts';
import { joinServers } from '../join/join-server.ts';
import { serverSteps } from '../next-steps.ts';
import {
  controlPlaneFlags,
  instanceFlags,
  instanceOf,
  joinFlags,
  machineFlags,
  NO_REGISTRY,
  serverActionOptions,
  serverOptions,
  type ServerOptions,
} from '../options.ts';
import {
  JOIN_FRONT_FLAGS,
  prepareInstance,
  runDetached,
  runInForeground,
  withoutFlags,
  type InstanceCommand,
} from '../run-instance.ts';
import { advertisedUrl, prepareControlPlane } from '../server-plan.ts';
import { actOnServers, SERVER_ACTIONS, type ServerAction } from '../servers/actions.ts';
import { renderJoinCommand } from '../tokens/render.ts';
import { createToken, listTokens } from '../tokens/tokens.ts';

const server: InstanceCommand = { name: 'server', nextSteps: serverSteps };
const FIRST_TOKEN = { description: 'made by the first start of the server', ttlSeconds: 24 * 3600, uses: undefined };

export const serverCommand: Command = {
  name: 'server',
  summary: 'Start the control plane alone, for other machines to join',
  usage: 'windlass server [list|remove NAME|leave] [flags]',
  flags: [
    ...instanceFlags,
    {
      flag: '--join URLS',
      text: 'become a further server beside those at https://host:port, with a token of role server',
    },
    ...joinFlags,
    { flag: '--listen HOST:PORT', text: 'API server address (default 0.0.0.0:6443: all addresses of this machine)' },
    ...controlPlaneFlags,
    ...machineFlags,
  ],
  examples: [
    'windlass server',
    'windlass server --detach --advertise 10.0.0.1',
    'windlass server --join https://10.0.0.1:6443 --token-file token --ca-hash sha256:1f2e...',
    'windlass server list                   (the servers of the cluster)',
    'windlass server remove 10.0.0.2:6443   (one that is lost)',
    'windlass server leave                  (this one, for good)',
  ],
  async run(context) {
    const asked = parseAction(context.argv);
    if (asked) {
      const { config } = loadConfig(serverActionOptions, { argv: asked.argv, env: context.env });
      const instance = instanceOf(config);
      const kubeconfig = config.kubeconfig ?? paths.adminKubeconfig(instance);
      await actOnServers(asked.action, { instance, kubeconfig }, context);
      return EXIT.ok;
    }
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
    if (config.join !== undefined && !config.isBehind) {
      claimFolders(instance);
      await joinServers(instance, config, context);
    }
    if (config.detach) {
      const argv = withoutFlags(context.argv, JOIN_FRONT_FLAGS);
      const options = { timeoutSeconds: config.timeoutSeconds, argv, env: { WINDLASS_IS_BEHIND: 'true' } };
      const code = await runDetached(instance, server, options, context);
      if (code === EXIT.ok) await tell();
      return code;
    }
    return runInForeground(
      instance,
      server,
      async () => {
        const { kubeconfig, url, etcd, refresh } = await prepareControlPlane(instance, config);
        return {
          components: planServer(instance, config, etcd),
          ...{ url, kubeconfig, refresh },
          ...(etcd ? { etcdMetrics: `127.0.0.1:${etcd.ports.metrics}` } : {}),
          ...(config.registryListen === NO_REGISTRY ? {} : { registryListen: config.registryListen }),
        };
      },
      context,
      // Behind a parent, it is the parent that prints: a log is no place for a token.
      config.isBehind ? undefined : tell,
    );
  },
};

/** The word after `server` and what is left of the arguments; undefined when a server is to be started. */
function parseAction(argv: readonly string[]): { action: ServerAction; argv: readonly string[] } | undefined {
  const [word, ...rest] = argv;
  if (word === undefined || word.startsWith('-')) return undefined;
  if (word === 'list' || word === 'leave') return { action: { kind: word }, argv: rest };
  if (word !== 'remove') {
    throw new WindlassError(
      'BadRequest',
      `want ${SERVER_ACTIONS.join(', ')} or a flag after server, not ${JSON.stringify(word)}`,
    );
  }
  const [name = '', ...flags] = rest;
  if (name === '' || name.startsWith('-')) {
    throw new WindlassError('BadRequest', 'want the name of a server after remove, as windlass server list shows it');
  }
  return { action: { kind: 'remove', name }, argv: flags };
}

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
