import { z } from 'zod';
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient } from '../../client/client.ts';
import { readKubeconfig, type Connection } from '../../client/kubeconfig.ts';
import { keyHashOf } from '../../lib/certificate-request.ts';
import { loadConfig } from '../../lib/config.ts';
import { WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { Command, CommandContext } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFlags, instanceOf, instanceOptions, serverUrls } from '../options.ts';
import { parseDuration, renderJoinCommand, renderTokens } from '../tokens/render.ts';
import { createToken, getToken, listTokens, revokeToken } from '../tokens/tokens.ts';
import { readUpState } from '../up-state.ts';

const ACTIONS = ['create', 'list', 'rotate', 'revoke'] as const;

const tokenOptions = instanceOptions.extend({
  kubeconfig: z.string().optional(),
  ttl: z
    .string()
    .refine((text) => parseDuration(text) !== undefined, 'want a time such as 30m, 24h or 7d, or 0 for ever')
    .default('24h'),
  uses: z.coerce.number('want a number').int('want a whole number').min(1, 'want at least 1').max(999_999).optional(),
  role: z.literal('node', 'want node: servers do not join by a token in this version').default('node'),
  description: z.string().default(''),
  server: serverUrls.optional(),
  printJoinCommand: z.boolean().default(false),
});
type TokenOptions = Readonly<z.infer<typeof tokenOptions>>;

export const tokenCommand: Command = {
  name: 'token',
  summary: 'Make, list, rotate and revoke the tokens by which machines join',
  usage: 'windlass token create|list|rotate ID|revoke ID [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--kubeconfig FILE', text: "an administrator's (default: admin.kubeconfig in the state folder)" },
    { flag: '--ttl TIME', text: 'how long it is good: 30m, 24h (default), 7d, or 0 for ever' },
    { flag: '--uses N', text: 'how many nodes may join by it (default: any number)' },
    { flag: '--role node', text: 'what its bearer becomes: a node' },
    { flag: '--description TEXT', text: 'a note for the list' },
    { flag: '--print-join-command', text: 'print the command for the other machine, not the token alone' },
    { flag: '--server URL', text: 'address for that command (default: as the server advertises it)' },
  ],
  examples: [
    'windlass token create --print-join-command',
    'windlass token create --ttl 30m --uses 1 --description "the new rack"',
    'windlass token list',
    'windlass token rotate abcdef',
    'windlass token revoke abcdef',
  ],
  async run(context) {
    const { action, id, argv } = parseWords(context.argv);
    const { config } = loadConfig(tokenOptions, { argv, env: context.env });
    const kubeconfig = config.kubeconfig ?? paths.adminKubeconfig(instanceOf(config));
    const connection = readKubeconfig(kubeconfig);
    const client = createApiClient(connection);
    try {
      await act({ action, id, config, connection, client }, context);
    } finally {
      await client.close();
    }
    return EXIT.ok;
  },
};

async function act(
  {
    action,
    id,
    config,
    connection,
    client,
  }: {
    action: (typeof ACTIONS)[number];
    id: string;
    config: TokenOptions;
    connection: Connection;
    client: ApiClient;
  },
  { output, signal }: CommandContext,
): Promise<void> {
  const now = Date.now();
  const show = (token: string): void =>
    output.print(config.printJoinCommand ? joinCommand(config, connection, token) : token);
  switch (action) {
    case 'create':
      return show(
        await createToken(
          client,
          { description: config.description, uses: config.uses, ttlSeconds: parseDuration(config.ttl) ?? 0, now },
          signal,
        ),
      );
    case 'list': {
      const tokens = await listTokens(client, signal);
      if (tokens.length === 0) return output.note('no tokens; make one with: windlass token create');
      return output.print(renderTokens(tokens, now));
    }
    case 'rotate': {
      const { description, uses } = await getToken(client, id, signal);
      const ttlSeconds = parseDuration(config.ttl) ?? 0;
      // The new one first: a failure in between leaves two, and not none.
      const wish = { description: config.description || description, uses: config.uses ?? uses, ttlSeconds, now };
      const token = await createToken(client, wish, signal);
      await revokeToken(client, id, signal);
      return show(token);
    }
    case 'revoke':
      await revokeToken(client, id, signal);
      return output.note(`revoked ${id}; nodes that have joined by it stay`);
  }
}

function parseWords(argv: readonly string[]): { action: (typeof ACTIONS)[number]; id: string; argv: string[] } {
  const [word = '', ...rest] = argv;
  const action = ACTIONS.find((one) => one === word);
  if (!action) {
    const given = word === '' ? 'nothing' : JSON.stringify(word);
    throw new WindlassError('BadRequest', `want ${ACTIONS.join(', ')} after token, not ${given}`);
  }
  if (action === 'create' || action === 'list') return { action, id: '', argv: rest };
  const [given = '', ...flags] = rest;
  // A whole token is taken as well: its id is all that is looked at.
  const [, id] = /^([a-z0-9]{6})(\.[a-z0-9]{16})?$/.exec(given) ?? [];
  if (id === undefined) {
    throw new WindlassError(
      'BadRequest',
      `want the id of a token after ${action}: the first six characters, as token list shows them`,
    );
  }
  return { action, id, argv: flags };
}

function joinCommand(config: TokenOptions, { server, ca }: Connection, token: string): string {
  if (ca === undefined) throw new WindlassError('BadRequest', 'the kubeconfig names no certificate authority');
  const url = config.server?.join(',') ?? (readUpState(instanceOf(config))?.url || server);
  return renderJoinCommand({ url, token, caHash: keyHashOf(ca) });
}
