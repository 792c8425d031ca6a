// The part of the node rule that needs what is stored: what a node makes belongs to something that is bound to it.
import { WindlassError } from '../../lib/errors.ts';
import { MASTERS, NODES } from '../auth/authorize.ts';
import { nodeNameOf } from '../auth/node-rule.ts';
import { qualifiedName } from '../resources/registry.ts';
import type { CollectionName, RequestContext, Resource, StoredObject } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const VOLUMES = { group: 'windlass.dev', plural: 'volumes' } as const;
const CONTAINER_UID_LABEL = 'windlass.dev/container-uid';
/** What all nodes have in common, and each tells of what it did for it. */
const SHARED = new Set(['Image', 'Network', 'Service']);

type Store = Pick<ResourceStore, 'get' | 'list'>;

/** Rejects with Forbidden when `context.user` is a node and what it makes is about something that is none of its business. */
export async function checkNodeCreate(
  store: Store,
  resource: Resource,
  object: StoredObject,
  { user }: RequestContext,
): Promise<void> {
  if (!user.groups.includes(NODES) || user.groups.includes(MASTERS)) return;
  const node = nodeNameOf(user) ?? '';
  const why =
    resource.plural === 'events'
      ? await eventRefusal(store, object, node)
      : resource.plural === 'volumes' && resource.group === 'windlass.dev'
        ? await volumeRefusal(store, object, node)
        : undefined;
  if (why === undefined) return;
  const { name } = object.metadata;
  throw new WindlassError('Forbidden', `${qualifiedName(resource)} "${name}" is forbidden: ${why}`, {
    details: { name, group: resource.group, kind: resource.plural },
  });
}

/** Only the Volume behind an anonymous mount: one of another name could be that of a slot, which has a home then. */
async function volumeRefusal(store: Store, { metadata }: StoredObject, node: string): Promise<string | undefined> {
  const uid = metadata.labels?.[CONTAINER_UID_LABEL];
  const namespace = metadata.namespace ?? '';
  const isOwner = ({ object }: { object: StoredObject }): boolean =>
    object.metadata.uid === uid &&
    nodeOf(object['spec']) === node &&
    isAnonymousName(metadata.name, object.metadata.name);
  for (const read of [{ revision: 0 }, {}]) {
    const { entries } = await store.list(CONTAINERS, { namespace, ...read });
    if (uid !== undefined && entries.some(isOwner)) return undefined;
  }
  return `node "${node}" may only make the Volumes behind anonymous mounts of Containers that are bound to it`;
}

/** `<name of the Container, cut>-<twelve hex digits>`; the slots of a Service end otherwise. */
function isAnonymousName(name: string, containerName: string): boolean {
  const [, start] = /^(.*)-[0-9a-f]{12}$/.exec(name) ?? [];
  return start !== undefined && start !== '' && containerName.startsWith(start);
}

async function eventRefusal(store: Store, object: StoredObject, node: string): Promise<string | undefined> {
  if (reporterOf(object) !== node) return `node "${node}" may only report as itself (reportingInstance)`;
  const { kind = '', namespace = '', name = '' } = subjectOf(object);
  if (SHARED.has(kind)) return undefined;
  if (kind === 'Node') return name === node ? undefined : `it is about node "${name}"`;
  const collection = kind === 'Container' ? CONTAINERS : kind === 'Volume' ? VOLUMES : undefined;
  if (!collection) return `node "${node}" has nothing to say about a ${kind || 'subject without a kind'}`;
  const holder = await holderOf(store, { collection, namespace, name }, node);
  // Of what is gone nobody is the holder any more.
  return holder === undefined || holder === node ? undefined : `the ${kind} "${name}" is not on node "${node}"`;
}

/** The node that the object is bound to, '' for none; undefined when there is no such object. */
async function holderOf(
  store: Store,
  { collection, namespace, name }: { collection: CollectionName; namespace: string; name: string },
  node: string,
): Promise<string | undefined> {
  let holder: string | undefined;
  for (const read of [{ revision: 0 }, {}]) {
    const entry = await store.get(collection, namespace, name, read);
    holder = entry && (nodeOf(entry.object['spec']) || nodeOf(entry.object['status']));
    if (holder === node) break;
  }
  return holder;
}

interface Subject {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** What an Event is about, in either of its forms. */
export const subjectOf = (event: StoredObject): Subject =>
  (event['involvedObject'] ?? event['regarding'] ?? {}) as Subject;

/** The node that reports it. */
export const reporterOf = (event: StoredObject): unknown => event['reportingInstance'];

const nodeOf = (part: unknown): string => (part as { nodeName?: string } | undefined)?.nodeName ?? '';
