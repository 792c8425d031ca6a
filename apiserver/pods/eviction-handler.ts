// POST pods/{name}/eviction: what `kubectl drain` sends. The Container behind the Pod is deleted.
// https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
import { checkPreconditions, markDeleted, parseDeleteOptions } from '../admission/deletion.ts';
import { isNotFound, WindlassError } from '../../lib/errors.ts';
import type { ResourceRegistry } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import type { SubresourceHandler, SubresourceRequest } from '../resources/subresource.ts';
import { badRequest, notFound } from '../routes/api-errors.ts';
import { decodeBody } from '../routes/body.ts';
import { mediaTypeOf, isDryRun } from '../routes/request-options.ts';
import type { Change, Entry, ResourceStore } from '../storage/resource-store.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const PODS = { group: '', plural: 'pods' } as const;

/** The handler. */
export function createEvictionHandler(
  store: Pick<ResourceStore, 'get' | 'guaranteedUpdate'>,
  registry: Pick<ResourceRegistry, 'lookup'>,
): SubresourceHandler {
  return {
    group: '',
    version: 'v1',
    plural: 'pods',
    name: 'eviction',
    verbs: ['create'],
    async handle(request) {
      const { namespace, name } = request;
      const resource = registry.lookup('windlass.dev', 'v1', 'containers');
      if (!resource) throw new WindlassError('Unavailable', 'containers.windlass.dev is not served yet');
      const { decide, dryRun } = planEviction(resource, request);
      try {
        if (dryRun) {
          const entry = await store.get(CONTAINERS, namespace, name);
          if (!entry) throw notFound(PODS, name);
          decide(entry);
        } else {
          await store.guaranteedUpdate(CONTAINERS, namespace, name, decide);
        }
      } catch (error) {
        throw isNotFound(error) ? notFound(PODS, name) : error;
      }
      const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };
      return { status: 201, contentType: 'application/json', body: JSON.stringify(status) };
    },
  };
}

/** What the Eviction in the body, and the query beside it, ask for. */
function planEviction(
  resource: Resource,
  { body, headers, query, name, user }: SubresourceRequest,
): { decide: (entry: Entry) => Change; dryRun: boolean } {
  const { object } = decodeBody(body, mediaTypeOf(headers['content-type']));
  const { kind = 'Eviction', metadata, deleteOptions } = object as Record<string, unknown>;
  if (kind !== 'Eviction') throw badRequest('the body is not a policy/v1 Eviction');
  const evicted = (metadata as { name?: unknown } | null | undefined)?.name;
  if (evicted && evicted !== name) {
    throw badRequest(
      `the name of the object (${JSON.stringify(evicted)}) does not match the name on the URL (${name})`,
    );
  }
  const options = parseDeleteOptions((deleteOptions ?? {}) as Record<string, unknown>, query);
  const dryRun = isDryRun(options.dryRun ?? []);
  const context = { user, dryRun, now: Date.now() };
  const decide = (entry: Entry): Change => {
    checkPreconditions(resource, entry.object, options);
    const object = entry.clone();
    return markDeleted(resource, object, options, context) ? { kind: 'delete' } : { kind: 'put', object };
  };
  return { decide, dryRun };
}
