// From a request to its answer: which route it is of, whether its sender may, and what answers it.
import type { Action } from '../access/access.ts';
import { refuse } from '../oci-errors.ts';
import { deleteBlob, readBlob } from './blobs.ts';
import { JSON_TYPE, type Answer, type Call, type RouteDeps } from './call.ts';
import { listCatalog, listReferrers, listTags } from './lists.ts';
import { deleteManifest, putManifest, readManifest } from './manifests.ts';
import type { Route } from './parse-path.ts';
import { appendToUpload, cancelUpload, finishUpload, readUpload, startUpload } from './uploads.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
type Handler = (deps: RouteDeps, call: Call) => Answer | Promise<Answer>;

/** What a method does on a route, and which right it takes; undefined = the catalog's and the ping's own rules. */
interface Operation {
  readonly action: Action | undefined;
  readonly handle: Handler;
}

/** The operation of a method on a route; UNSUPPORTED names the methods there are. */
export function findOperation(route: Route, method: string): Operation {
  const operations = operationsOf(route);
  const found = operations[method as Method];
  if (found) return found;
  throw refuse('UNSUPPORTED', `${method} is not supported here: want ${methodsOf(route)}`);
}

/** The methods of a route, as the header Allow lists them. */
export function methodsOf(route: Route): string {
  return Object.keys(operationsOf(route)).join(', ');
}

/** Answers a request whose sender may do what `operation` takes. */
export async function answer(operation: Operation, deps: RouteDeps, call: Call): Promise<Answer> {
  if (operation.action === 'delete' && !deps.rules.allowDelete) {
    throw refuse('UNSUPPORTED', 'this registry does not delete (--no-delete)');
  }
  if (operation.action === 'push' && deps.upstream) {
    throw refuse('UNSUPPORTED', `this registry is the cache of ${deps.upstream.registry}: push there`);
  }
  const namespace = call.query.get('ns');
  if (namespace !== null && namespace !== deps.upstream?.registry) {
    throw refuse('NAME_UNKNOWN', `this registry is not the cache of ${JSON.stringify(namespace.slice(0, 255))} (ns)`);
  }
  return operation.handle(deps, call);
}

/** What a caller needs who has no right yet. */
export function actionsFor(action: Action | undefined): readonly Action[] {
  // Clients ask for both at once when they push: one token then does for all of it.
  return action === 'push' ? ['pull', 'push'] : action === undefined ? [] : [action];
}

function operationsOf(route: Route): Partial<Record<Method, Operation>> {
  const pull = (handle: Handler): Operation => ({ action: 'pull', handle });
  const push = (handle: Handler): Operation => ({ action: 'push', handle });
  const remove = (handle: Handler): Operation => ({ action: 'delete', handle });
  switch (route.kind) {
    case 'ping': {
      const ping: Operation = { action: undefined, handle: () => ({ status: 200, headers: JSON_TYPE, body: '{}' }) };
      return { GET: ping, HEAD: ping };
    }
    case 'catalog':
      return { GET: { action: undefined, handle: listCatalog } };
    case 'tags':
      return { GET: pull((deps, call) => listTags(deps, call, route.repository)) };
    case 'referrers':
      return { GET: pull((deps, call) => listReferrers(deps, call, route.repository, route.digest)) };
    case 'manifest': {
      const { repository, reference } = route;
      const read = pull((deps, call) => readManifest(deps, call, repository, reference));
      return {
        GET: read,
        HEAD: read,
        PUT: push((deps, call) => putManifest(deps, call, repository, reference)),
        DELETE: remove((deps) => deleteManifest(deps, repository, reference)),
      };
    }
    case 'blob': {
      const read = pull((deps, call) => readBlob(deps, call, route.repository, route.digest));
      return { GET: read, HEAD: read, DELETE: remove((deps) => deleteBlob(deps, route.repository, route.digest)) };
    }
    case 'uploads':
      return { POST: push((deps, call) => startUpload(deps, call, route.repository)) };
    case 'upload':
      return {
        GET: push((deps) => readUpload(deps, route.repository, route.id)),
        PATCH: push((deps, call) => appendToUpload(deps, call, route.repository, route.id)),
        PUT: push((deps, call) => finishUpload(deps, call, route.repository, route.id)),
        DELETE: push((deps) => cancelUpload(deps, route.repository, route.id)),
      };
  }
}
