// From a URL to the verb that answers it: resource, rights, handler.
import type { User } from '../auth/user.ts';
import type { Attributes } from '../auth/authorize.ts';
import { authorizeNodeData } from '../auth/node-data.ts';
import { collectionOf } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import type { SubresourceHandler } from '../resources/subresource.ts';
import { forbidden, methodNotAllowed, notServedYet, pathNotFound, viewIsReadOnly } from './api-errors.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { handleCreate } from './create.ts';
import { handleDeleteCollection } from './delete-collection.ts';
import { handleDelete } from './delete.ts';
import { handleGet } from './get.ts';
import { handleList } from './list.ts';
import { handlePatch } from './patch.ts';
import { isDryRun, isTrue } from './request-options.ts';
import type { ResourcePath } from './resource-path.ts';
import { handleScale } from './scale.ts';
import { handleUpdate } from './update.ts';
import { isView } from './served.ts';
import { handleWatch } from './watch.ts';

/** A request before its resource is known. */
export interface IncomingCall {
  readonly method: string;
  readonly path: ResourcePath;
  readonly user: User;
  readonly query: URLSearchParams;
  readonly accept: string;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

export interface Dispatcher {
  /** The verb a request is, in the words of authorisation and metrics. */
  verbOf(incoming: Pick<IncomingCall, 'method' | 'path' | 'query'>): string;
  dispatch(incoming: IncomingCall, warnings: string[]): Promise<Answer>;
  /** Registers what answers a subresource that is not generic. */
  addSubresource(handler: SubresourceHandler): void;
  findSubresource(path: ResourcePath): SubresourceHandler | undefined;
  /** Whether anything answers below `path`. */
  isServed(path: ResourcePath): boolean;
  /** Rejects with Forbidden. */
  checkAllowed(user: User, path: ResourcePath, verb: string): void;
}

const GENERIC_SUBRESOURCES = new Set(['', 'status', 'scale', 'finalize', 'approval']);

/** Built once; everything it answers by comes from `deps` and the handlers added later. */
export function createDispatcher(deps: ApiDeps): Dispatcher {
  const handlers = new Map<string, SubresourceHandler>();
  const keyOf = (path: { group: string; version: string; plural: string }, name: string): string =>
    `${path.group}/${path.version}/${path.plural}/${name}`;

  const checkAllowed = (user: User, path: ResourcePath, verb: string): void => {
    const attributes = attributesOf(path, verb);
    const decision = deps.authorize(user, attributes);
    if (decision.allowed) return;
    // Who has a role may be known in a moment.
    throw deps.isServing() ? forbidden(user, attributes, decision.reason) : notServedYet();
  };

  const checkData = async (user: User, path: ResourcePath, verb: string): Promise<void> => {
    const attributes = attributesOf(path, verb);
    const decision = await authorizeNodeData(deps.store, user, attributes);
    if (!decision.allowed) throw forbidden(user, attributes, decision.reason);
  };

  return {
    verbOf,
    checkAllowed,
    addSubresource: (handler) => handlers.set(keyOf(handler, handler.name), handler),
    findSubresource: (path) => handlers.get(keyOf(path, path.subresource)),
    isServed: (path) =>
      handlers.has(keyOf(path, path.subresource)) ||
      (GENERIC_SUBRESOURCES.has(path.subresource) &&
        deps.registry.lookup(path.group, path.version, path.plural) !== undefined),
    async dispatch(incoming, warnings) {
      const { path, user } = incoming;
      const verb = verbOf(incoming);
      const resource = deps.registry.lookup(path.group, path.version, path.plural);
      const handler = handlers.get(keyOf(path, path.subresource));
      if (!resource && !handler) throw deps.isServing() ? pathNotFound() : notServedYet();
      checkAllowed(user, path, verb);
      await checkData(user, path, verb);
      if (handler) return callHandler(handler, incoming, verb);
      if (!resource) throw pathNotFound();
      if (resource.namespaced && path.name !== '' && path.namespace === '') throw pathNotFound();
      if (!resource.namespaced && path.namespace !== '') throw pathNotFound();
      const call: Call = {
        resource,
        path,
        context: {
          user,
          ...(path.subresource === '' ? {} : { subresource: path.subresource }),
          dryRun: verb !== 'delete' && isDryRun(incoming.query.getAll('dryRun')),
          now: deps.clock.now(),
        },
        query: incoming.query,
        accept: incoming.accept,
        contentType: incoming.contentType,
        body: incoming.body,
        signal: incoming.signal,
        warnings,
      };
      const answered = await answer(deps, call, verb);
      if (resource.deprecation !== undefined) warnings.push(resource.deprecation);
      return answered;
    },
  };
}

function verbOf({ method, path, query }: Pick<IncomingCall, 'method' | 'path' | 'query'>): string {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query.get('watch'))) return 'watch';
      return path.name === '' ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return path.name === '' ? 'deletecollection' : 'delete';
    default:
      throw methodNotAllowed();
  }
}

async function answer(deps: ApiDeps, call: Call, verb: string): Promise<Answer> {
  const { resource, path } = call;
  if (path.subresource === 'scale' && resource.scale) {
    if (verb === 'get' || verb === 'update' || verb === 'patch') return handleScale(deps, call, verb);
    throw methodNotAllowed();
  }
  if (path.subresource === 'finalize' && resource.plural === 'namespaces' && resource.group === '') {
    if (verb !== 'update') throw methodNotAllowed();
    return handleUpdate(deps, call);
  }
  if (path.subresource !== '') {
    const isStatus = path.subresource === 'status' && resource.status;
    // A part of the status that others write than those who write the rest.
    const isApproval =
      path.subresource === 'approval' && resource.subresources?.some(({ name }) => name === 'approval') === true;
    if (!isStatus && !isApproval) throw pathNotFound();
    if (verb !== 'get' && verb !== 'update' && verb !== 'patch') throw methodNotAllowed();
  }
  if (!offers(resource, verb)) {
    throw isView(resource) ? viewIsReadOnly(resource, collectionOf(resource)) : methodNotAllowed();
  }
  const needsName = verb === 'update' || verb === 'patch';
  if (needsName && path.name === '') throw methodNotAllowed();
  if (verb === 'create' && path.name !== '') throw methodNotAllowed();
  switch (verb) {
    case 'get':
      return handleGet(deps, call);
    case 'list':
      return handleList(deps, call);
    case 'watch':
      return handleWatch(deps, call);
    case 'create':
      return handleCreate(deps, call);
    case 'update':
      return handleUpdate(deps, call);
    case 'patch':
      return handlePatch(deps, call);
    case 'delete':
      return handleDelete(deps, call);
    default:
      return handleDeleteCollection(deps, call);
  }
}

const offers = (resource: Resource, verb: string): boolean => (resource.verbs as readonly string[]).includes(verb);

async function callHandler(handler: SubresourceHandler, incoming: IncomingCall, verb: string): Promise<Answer> {
  if (!handler.handle || !handler.verbs.includes(verb)) throw methodNotAllowed();
  const { path, user, method, query, headers, body, signal } = incoming;
  const { namespace, name } = path;
  return handler.handle({ user, method, namespace, name, query, headers, body, signal });
}

export function attributesOf(path: ResourcePath, verb: string): Attributes {
  const { group, version, plural, subresource, namespace, name } = path;
  return { verb, group, version, resource: plural, subresource, namespace, name };
}
