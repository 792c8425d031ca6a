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
import { readMembers } from '../etcd-member.ts';
import { createToken, getToken, listTokens, revokeToken, TOKEN_ROLES, type TokenRole } from '../tokens/tokens.ts';
import { readUpState } from '../up-state.ts';

const ACTIONS = ['create', 'list', 'rotate', 'revoke'] as const;

const tokenOptions = instanceOptions.extend({
  kubeconfig: z.string().optional(),
  ttl: z
    .string()
    .refine((text) => parseDuration(text) !== undefined, 'want a time such as 30m, 24h or 7d, or 0 for ever')
    .optional(),
  uses: z.coerce.number('want a number').int('want a whole number').min(1, 'want at least 1').max(999_999).optional(),
  role: z.enum(TOKEN_ROLES, 'want node or server').optional(),
  description: z.string().default(''),
  server: serverUrls.optional(),
  printJoinCommand: z.boolean().default(false),
});
type TokenOptions = Readonly<z.infer<typeof tokenOptions>>;

/** Unless the flags say otherwise. A server is given the keys of the cluster: its token is for one, and for soon. */
const DEFAULTS: Readonly<Record<TokenRole, { ttl: string; uses: number | undefined }>> = {
  node: { ttl: '24h', uses: undefined },
  server: { ttl: '1h', uses: 1 },
};

export const tokenCommand: Command = {
  name: 'token',
  summary: 'Make, list, rotate and revoke the tokens by which machines join',
  usage: 'windlass token create|list|rotate ID|revoke ID [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--kubeconfig FILE', text: "an administrator's (default: admin.kubeconfig in the state folder)" },
    {
      flag: '--ttl TIME',
      text: 'how long it is good: 30m, 24h (default for nodes), 1h (for servers), 7d, or 0 for ever',
    },
    { flag: '--uses N', text: 'how many machines may join by it (default: any number of nodes, one server)' },
    {
      flag: '--role ROLE',
      text: 'what its bearer becomes: node (default), or server, which is given the keys of the cluster',
    },
    { flag: '--description TEXT', text: 'a note for the list' },
    { flag: '--print-join-command', text: 'print the command for the other machine, not the token alone' },
    { flag: '--server URL', text: 'address for that command (default: as the server advertises it)' },
  ],
  examples: [
    'windlass token create --print-join-command',
    'windlass token create --role server --print-join-command',
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
  const make = async (role: TokenRole, uses: number | undefined, description: string): Promise<string> => {
    const ttlSeconds = parseDuration(config.ttl ?? DEFAULTS[role].ttl) ?? 0;
    const token = await createToken(client, { role, description, uses, ttlSeconds, now }, signal);
    return config.printJoinCommand ? joinCommand(config, connection, { token, role }) : token;
  };
  switch (action) {
    case 'create': {
      const role = config.role ?? 'node';
      return output.print(await make(role, config.uses ?? DEFAULTS[role].uses, config.description));
    }
    case 'list': {
      const tokens = await listTokens(client, signal);
      if (tokens.length === 0) return output.note('no tokens; make one with: windlass token create');
      return output.print(renderTokens(tokens, now));
    }
    case 'rotate': {
      const { description, uses, role } = await getToken(client, id, signal);
      if (config.role !== undefined && config.role !== role) {
        const message = `--role: the token ${id} is of role ${role ?? '<none>'}; make another one with token create`;
        throw new WindlassError('BadRequest', message);
      }
      // The new one first: a failure in between leaves two, and not none.
      const shown = await make(role ?? 'node', config.uses ?? uses, config.description || description);
      await revokeToken(client, id, signal);
      return output.print(shown);
    }
    case 'revoke':
      await revokeToken(client, id, signal);
      return output.note(`revoked ${id}; machines that have joined by it stay`);
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

function joinCommand(
  config: TokenOptions,
  { server, ca }: Connection,
  facts: { readonly token: string; readonly role: TokenRole },
): string {
  if (ca === undefined) throw new WindlassError('BadRequest', 'the kubeconfig names no certificate authority');
  const instance = instanceOf(config);
  const members = readMembers(instance).flatMap(({ url }) => url ?? []);
  const known = members.length > 1 ? members.join(',') : readUpState(instance)?.url || server;
  const url = config.server?.join(',') ?? known;
  return renderJoinCommand({ url, ...facts, caHash: keyHashOf(ca) });
}
