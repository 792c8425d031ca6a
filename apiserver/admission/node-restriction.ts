// The part of the node rule that needs the object: an agent writes only what is bound to its node, and of what all nodes
// share only what is its to say. The registry writes its own lease.
import { isDeepStrictEqual } from 'node:util';
import { PULL_NODE_ANNOTATION } from '../../crds/image.ts';
import { NODE_KEY_ANNOTATION, REGISTRY_USER } from '../../crds/join.ts';
import { WindlassError } from '../../lib/errors.ts';
import { isOwnLease, nodeNameOf } from '../auth/node-rule.ts';
import { isRegistryLease, MASTERS, NODES } from '../auth/authorize.ts';
import { qualifiedName } from '../resources/registry.ts';
import type { RequestContext, Resource, StoredObject } from '../resources/resource.ts';
import { reporterOf, subjectOf } from './node-creates.ts';

/** One write: `old` is absent when it creates, `object` when it deletes. */
interface Write {
  readonly node: string;
  readonly old: StoredObject | undefined;
  readonly object: StoredObject | undefined;
}

/** Rejects with Forbidden when `context.user` is a node, or the registry, and the write is none of its business. */
export function checkNodeRestriction(
  resource: Resource,
  object: StoredObject | undefined,
  old: StoredObject | undefined,
  { user }: RequestContext,
): void {
  if (user.groups.includes(MASTERS)) return;
  const write = { node: nodeNameOf(user) ?? '', old, object };
  const why = user.groups.includes(NODES)
    ? refusalOf(resource, write)
    : user.name === REGISTRY_USER
      ? registryRefusal(resource, write)
      : undefined;
  if (why === undefined) return;
  const { name } = ((object ?? old) as StoredObject).metadata;
  throw new WindlassError('Forbidden', `${qualifiedName(resource)} "${name}" is forbidden: ${why}`, {
    details: { name, group: resource.group, kind: resource.plural },
  });
}

function refusalOf({ group, plural }: Resource, write: Write): string | undefined {
  switch (`${plural}.${group}`) {
    case 'nodes.':
      return nodeRefusal(write);
    case 'leases.coordination.k8s.io':
      return leaseRefusal(write);
    case 'containers.windlass.dev':
      return containerRefusal(write);
    case 'volumes.windlass.dev':
      return volumeRefusal(write);
    case 'images.windlass.dev':
      return imageRefusal(write);
    case 'events.':
    case 'events.events.k8s.io':
      return eventRefusal(write);
    case 'networks.windlass.dev':
      return networkRefusal(write);
    default:
      return undefined;
  }
}

function nodeRefusal({ node, old, object }: Write): string | undefined {
  const { name } = ((object ?? old) as StoredObject).metadata;
  if (name !== node) return `node "${node}" is not allowed to write node "${name}"`;
  if (!old || !object) return undefined;
  if (annotation(old, NODE_KEY_ANNOTATION) !== annotation(object, NODE_KEY_ANNOTATION)) {
    return `node "${node}" may not change its annotation ${NODE_KEY_ANNOTATION}`;
  }
  if (!isDeepStrictEqual(old.metadata.finalizers ?? [], object.metadata.finalizers ?? [])) {
    return `node "${node}" may not change its metadata.finalizers`;
  }
  // Whether it is given anything to run is not for the node to say: it is cordoned and tainted by others.
  return specRefusal({ node, old, object });
}

function leaseRefusal({ node, old, object }: Write): string | undefined {
  const { namespace = '', name } = ((object ?? old) as StoredObject).metadata;
  return isOwnLease(namespace, name, node) ? undefined : `node "${node}" may only write its own leases`;
}

/** What else it makes are reviews, which are about others. */
function registryRefusal({ plural }: Resource, { old, object }: Write): string | undefined {
  if (plural !== 'leases') return undefined;
  const { namespace = '', name } = ((object ?? old) as StoredObject).metadata;
  return isRegistryLease(namespace, name) ? undefined : 'the registry may only write its own lease';
}

function containerRefusal({ node, old, object }: Write): string | undefined {
  if (!old) return undefined;
  if (nodeOf(old['spec']) !== node) return `it is not bound to node "${node}"`;
  if (!object) return undefined;
  // By these it is one of a Service, which sends it what its clients send.
  const field = (['labels', 'ownerReferences'] as const).find(
    (one) => !isDeepStrictEqual(old.metadata[one], object.metadata[one]),
  );
  if (field !== undefined) return `node "${node}" may not change its metadata.${field}`;
  return specRefusal({ node, old, object });
}

function volumeRefusal({ node, old, object }: Write): string | undefined {
  const one = (old ?? object) as StoredObject;
  const holder = nodeOf(one['status']) || nodeOf(one['spec']);
  if (holder !== '' && holder !== node) return `it is on node "${holder}"`;
  // One that is on no node yet gets the finalizer of the node that is about to have it, and nothing else from there: what
  // it leads to, a folder of the host perhaps, another node may be the one to mount.
  if (holder === '' && (!old || !object)) return `it is not on node "${node}"`;
  return specRefusal({ node, old, object });
}

/** It raises the count of what it has said itself; what it makes is looked at in node-creates.ts. */
function eventRefusal({ node, old, object }: Write): string | undefined {
  if (!old) return undefined;
  if (reporterOf(old) !== node) return `it was not reported by node "${node}"`;
  if (!object || (reporterOf(object) === node && isDeepStrictEqual(subjectOf(object), subjectOf(old))))
    return undefined;
  return `node "${node}" may not change whom it is about, or who reports it`;
}

/** Other nodes than the one that fetches it say of themselves whether they have it. */
function imageRefusal({ node, old, object }: Write): string | undefined {
  const holder = old ? annotation(old, PULL_NODE_ANNOTATION) : undefined;
  if (holder === node) return undefined;
  if (old && object && isDeepStrictEqual(withoutPresence(old, node), withoutPresence(object, node))) return undefined;
  return `it is fetched by node "${holder ?? ''}": node "${node}" may only say of itself whether it has it`;
}

/** The status of an Image without what `node` says of itself. */
function withoutPresence(object: StoredObject, node: string): object {
  const {
    nodes = [],
    lacking = [],
    ...rest
  } = (object['status'] ?? {}) as {
    nodes?: readonly string[];
    lacking?: readonly { nodeName?: string }[];
  };
  return {
    ...{ rest, labels: object.metadata.labels, annotations: object.metadata.annotations },
    nodes: nodes.filter((name) => name !== node),
    lacking: lacking.filter(({ nodeName }) => nodeName !== node),
  };
}

function networkRefusal({ node, old, object }: Write): string | undefined {
  if (old && object && isDeepStrictEqual(withoutReport(old, node), withoutReport(object, node))) return undefined;
  return `node "${node}" may only say of itself whether it has it`;
}

function specRefusal({ node, old, object }: Write): string | undefined {
  if (!old || !object || isDeepStrictEqual(old['spec'] ?? {}, object['spec'] ?? {})) return undefined;
  return `node "${node}" may not change its spec`;
}

/** The status of a Network without what `node` says of itself: addresses and endpoints lead the traffic of all nodes. */
function withoutReport(object: StoredObject, node: string): object {
  const status = object['status'] as { nodes?: readonly Record<string, unknown>[] } | undefined;
  const nodes = status?.nodes?.map((one) => {
    if (one['name'] !== node) return one;
    const { bridge: _b, ready: _r, message: _m, ...rest } = one;
    return rest;
  });
  return { ...status, nodes };
}

const annotation = ({ metadata }: StoredObject, key: string): string | undefined => metadata.annotations?.[key];

const nodeOf = (part: unknown): string => (part as { nodeName?: string } | undefined)?.nodeName ?? '';
