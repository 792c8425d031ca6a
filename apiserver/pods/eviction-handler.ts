// POST pods/{name}/eviction: what `kubectl drain` sends. The Container behind the Pod is deleted.
import { markDeleted } from '../admission/deletion.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ResourceRegistry } from '../resources/registry.ts';
import type { SubresourceHandler } from '../resources/subresource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

interface Eviction {
  readonly deleteOptions?: { readonly gracePeriodSeconds?: number };
}

/** The handler. */
export function createEvictionHandler(
  store: Pick<ResourceStore, 'guaranteedUpdate'>,
  registry: Pick<ResourceRegistry, 'lookup'>,
): SubresourceHandler {
  return {
    group: '',
    version: 'v1',
    plural: 'pods',
    name: 'eviction',
    verbs: ['create'],
    async handle({ namespace, name, body, user }) {
      const resource = registry.lookup('windlass.dev', 'v1', 'containers');
      if (!resource) throw new WindlassError('Unavailable', 'containers.windlass.dev is not served yet');
      const grace = parseEviction(body).deleteOptions?.gracePeriodSeconds;
      const context = { user, dryRun: false, now: Date.now() };
      await store.guaranteedUpdate({ group: 'windlass.dev', plural: 'containers' }, namespace, name, (entry) => {
        const object = entry.clone();
        const options = grace === undefined ? {} : { gracePeriodSeconds: grace };
        return markDeleted(resource, object, options, context) ? { kind: 'delete' } : { kind: 'put', object };
      });
      const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };
      return { status: 201, contentType: 'application/json', body: JSON.stringify(status) };
    },
  };
}

// Newer clients send protobuf here; all that is in it is a grace period, which the Container has too.
function parseEviction(body: Buffer): Eviction {
  if (body.length === 0 || body[0] !== 0x7b) return {};
  try {
    return JSON.parse(body.toString('utf8')) as Eviction;
  } catch (error) {
    throw new WindlassError('BadRequest', 'the body is not a policy/v1 Eviction', { cause: error });
  }
}
