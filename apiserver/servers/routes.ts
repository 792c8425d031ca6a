// /servers: who is a server of this cluster, joining and leaving.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { SERVERS_PATH, type ServerList } from '../../crds/servers.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Authorize } from '../auth/authorizer.ts';
import type { User } from '../auth/user.ts';
import { requireUser, send, type ApiRouteOptions } from '../routes/api.ts';
import { jsonAnswer, type Answer } from '../routes/call.ts';
import type { JoinServerDeps } from './join-server.ts';
import { joinServer } from './join-server.ts';
import type { Membership } from './membership.ts';

export interface ServerRouteOptions extends Pick<ApiRouteOptions, 'log' | 'patience' | 'authorize'> {
  /** Undefined with an etcd of somebody else. */
  readonly joining: (Omit<JoinServerDeps, 'membership'> & { readonly membership: Membership }) | undefined;
}

/** Registers the routes. */
export function registerServerRoutes(app: FastifyInstance, options: ServerRouteOptions): void {
  const { joining } = options;
  type Handler = (request: FastifyRequest, user: User) => Promise<Answer> | Answer;
  const route = (method: 'GET' | 'POST' | 'DELETE', url: string, handler: Handler): void => {
    app.route({
      method,
      url,
      handler: async (request: FastifyRequest, reply: FastifyReply) => {
        await send(options, request, reply, await handler(request, requireUser(request)));
      },
    });
  };
  // Addresses alone: a node needs them, and a token that is good for anything is given them with its command.
  route('GET', SERVERS_PATH, () =>
    jsonAnswer(200, joining?.membership.list() ?? ({ servers: [] } satisfies ServerList)),
  );
  route('POST', SERVERS_PATH, async ({ body }, user) => {
    if (!joining) throw notEmbedded();
    const answer = await joinServer(joining, user, Buffer.isBuffer(body) ? body : Buffer.alloc(0));
    return { ...jsonAnswer(200, answer), headers: { 'Cache-Control': 'no-store' } };
  });
  route('DELETE', `${SERVERS_PATH}/:name`, async ({ params }, user) => {
    const { name } = params as { name: string };
    checkMay(options.authorize, user, 'delete', `${SERVERS_PATH}/${name}`);
    if (!joining) throw notEmbedded();
    await joining.membership.remove(name);
    return jsonAnswer(200, joining.membership.list());
  });
}

const notEmbedded = (): WindlassError =>
  new WindlassError(
    'Conflict',
    'the etcd of this server is not its own: a further server shares it with --etcd-servers, and needs no --join',
  );

function checkMay(authorize: Authorize, user: User, verb: string, path: string): void {
  const none = { group: '', version: '', resource: '', subresource: '', namespace: '', name: '' };
  if (authorize(user, { ...none, verb, path }).allowed) return;
  throw new WindlassError('Forbidden', `forbidden: User "${user.name}" cannot ${verb} path "${path}"`);
}
