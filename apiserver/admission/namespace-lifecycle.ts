// Nothing is created in a namespace that is not there or is going away.
import { WindlassError } from '../../lib/errors.ts';
import { notFound } from '../routes/api-errors.ts';
import { qualifiedName } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const NAMESPACES = { group: '', plural: 'namespaces' } as const;

/** Namespaces that must exist as long as the cluster does. */
export const PROTECTED_NAMESPACES: ReadonlySet<string> = new Set([
  'default',
  'kube-system',
  'windlass-system',
  'kube-node-lease',
]);

/** Rejects with NotFound or Forbidden (cause NamespaceTerminating). Memory is asked first, the store when it says no. */
export async function checkNamespaceAccepts(
  store: ResourceStore,
  resource: Resource,
  namespace: string,
  name: string,
): Promise<void> {
  const entry =
    (await store.get(NAMESPACES, '', namespace, { revision: 0 })) ?? (await store.get(NAMESPACES, '', namespace));
  if (!entry) throw notFound(NAMESPACES, namespace);
  if (!entry.object.metadata.deletionTimestamp) return;
  // Events tell why a namespace is not gone yet, so they may still be written.
  if (resource.plural === 'events') return;
  const message = `${qualifiedName(resource)} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`;
  throw new WindlassError('Forbidden', message, {
    details: {
      name,
      group: resource.group,
      kind: resource.plural,
      causes: [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    },
  });
}
