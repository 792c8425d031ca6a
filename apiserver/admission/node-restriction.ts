// The part of the node rule that needs the object: an agent writes only what is bound to its node.
import { isDeepStrictEqual } from 'node:util';
import { NODE_KEY_ANNOTATION } from '../../crds/join.ts';
import { WindlassError } from '../../lib/errors.ts';
import { isOwnLease, nodeNameOf } from '../auth/node-rule.ts';
import { MASTERS, NODES } from '../auth/authorize.ts';
import { qualifiedName } from '../resources/registry.ts';
import type { RequestContext, Resource, StoredObject } from '../resources/resource.ts';

/** Rejects with Forbidden when `context.user` is a node and the write is none of its business. */
export function checkNodeRestriction(
  resource: Resource,
  object: StoredObject | undefined,
  old: StoredObject | undefined,
  context: RequestContext,
): void {
  const { user } = context;
  if (!user.groups.includes(NODES) || user.groups.includes(MASTERS)) return;
  const node = nodeNameOf(user) ?? '';
  const { metadata } = (object ?? old) as StoredObject;
  const refuse = (why: string): never => {
    throw new WindlassError('Forbidden', `${qualifiedName(resource)} "${metadata.name}" is forbidden: ${why}`, {
      details: { name: metadata.name, group: resource.group, kind: resource.plural },
    });
  };
  if (resource.group === '' && resource.plural === 'nodes') {
    if (metadata.name !== node) refuse(`node "${node}" is not allowed to write node "${metadata.name}"`);
    if (old && keyOf(old) !== keyOf(object ?? old))
      refuse(`node "${node}" may not change its annotation ${NODE_KEY_ANNOTATION}`);
    // Whether it is given anything to run is not for the node to say: it is cordoned and tainted by others.
    if (old && object && !isDeepStrictEqual(old['spec'] ?? {}, object['spec'] ?? {}))
      refuse(`node "${node}" may not change its spec`);
  } else if (resource.plural === 'leases') {
    if (!isOwnLease(metadata.namespace ?? '', metadata.name, node))
      refuse(`node "${node}" may only write its own leases`);
  } else if (resource.group === 'windlass.dev' && resource.plural === 'containers' && old) {
    if (boundNode(old) !== node) refuse(`it is not bound to node "${node}"`);
    if (object && context.subresource === undefined && !isDeepStrictEqual(old['spec'], object['spec'])) {
      refuse(`node "${node}" may not change its spec`);
    }
    // By these it is one of a Service, which sends it what its clients send.
    for (const field of ['labels', 'ownerReferences'] as const) {
      if (object && !isDeepStrictEqual(old.metadata[field], object.metadata[field]))
        refuse(`node "${node}" may not change its metadata.${field}`);
    }
  } else if (resource.group === 'windlass.dev' && resource.plural === 'volumes') {
    const holder = volumeNode(old ?? (object as StoredObject));
    if (holder !== '' && holder !== node) refuse(`it is on node "${holder}"`);
    // One that is on no node yet gets the finalizer of the node that is about to have it, and nothing else from there: what
    // it leads to, a folder of the host perhaps, another node may be the one to mount.
    if (holder === '' && (!old || !object)) refuse(`it is not on node "${node}"`);
    if (old && object && !isDeepStrictEqual(old['spec'], object['spec']))
      refuse(`node "${node}" may not change its spec`);
  }
}

const keyOf = ({ metadata }: StoredObject): string | undefined => metadata.annotations?.[NODE_KEY_ANNOTATION];

function volumeNode(object: StoredObject): string {
  const { spec, status } = object as { spec?: { nodeName?: string }; status?: { nodeName?: string } };
  return status?.nodeName || spec?.nodeName || '';
}

function boundNode(object: StoredObject): string {
  return (object['spec'] as { nodeName?: string } | undefined)?.nodeName ?? '';
}
