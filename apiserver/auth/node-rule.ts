// What a node agent may do: read what it needs to run its containers, and write about itself and what is bound to it.
import type { User } from './user.ts';
import type { Attributes, Decision } from './authorize.ts';

const PREFIX = 'system:node:';

/** The node a user stands for; undefined for anyone else. */
export function nodeNameOf(user: User): string | undefined {
  return user.name.startsWith(PREFIX) ? user.name.slice(PREFIX.length) : undefined;
}

const READ = new Set(['get', 'list', 'watch']);
const WRITE = new Set(['create', 'update', 'patch']);
const DATA = new Set(['secrets', 'configmaps']);
const EVENT_GROUPS = new Set(['', 'events.k8s.io']);
/** What runs on a node and has a lease by which its metrics are found. */
const NODE_COMPONENTS = ['node-agent', 'runtime-shim'];
/** Kinds of windlass.dev whose status an agent reports on. */
const REPORTED = new Set(['images', 'networks']);
/** Kinds whose objects are bound to a node, which may then write them; anonymous volumes are made there too. */
const BOUND: Readonly<Record<string, ReadonlySet<string>>> = {
  containers: new Set(['update', 'patch', 'delete']),
  volumes: new Set(['create', 'update', 'patch', 'delete']),
};

/** The part of the node rule that needs no object. */
export function authorizeNode(
  user: User,
  { verb, group, resource, subresource, name, namespace }: Attributes,
): Decision {
  const node = nodeNameOf(user);
  const allow = { allowed: true, reason: '' };
  if (node === undefined) return { allowed: false, reason: `the user of a node must be named ${PREFIX}<name>` };
  // Named by a Container of the node, so asked for one by one; nobody on a node needs those of everybody.
  if (group === '' && DATA.has(resource) && (verb === 'list' || verb === 'watch')) {
    return { allowed: false, reason: `a node may only get ${resource} by their name` };
  }
  // Not for an agent, which writes them: they are what other nodes' Containers have said.
  const isLog = subresource === 'log' && ((group === '' && resource === 'pods') || resource === 'images');
  if (isLog) {
    return { allowed: false, reason: 'a node may not read logs through the API server' };
  }
  if (READ.has(verb)) return allow;
  if (group === '' && resource === 'nodes') {
    if (!WRITE.has(verb)) return { allowed: false, reason: 'a node may not delete nodes' };
    if (verb === 'create' || name === node) return allow;
    return { allowed: false, reason: `node ${node} may only write the Node ${node}` };
  }
  if (group === 'coordination.k8s.io' && resource === 'leases') {
    if (verb === 'create' || isOwnLease(namespace, name, node)) return allow;
    return { allowed: false, reason: `node ${node} may only write its own leases` };
  }
  // For which names is a matter of the object: certificate-requests.ts.
  if (group === 'certificates.k8s.io' && resource === 'certificatesigningrequests' && verb === 'create') return allow;
  if (EVENT_GROUPS.has(group) && resource === 'events' && WRITE.has(verb)) return allow;
  // Bytes on the node: the agent puts its finalizer on a Volume, and makes those behind anonymous mounts.
  if (group === 'windlass.dev' && resource === 'volumes' && (WRITE.has(verb) || verb === 'delete')) return allow;
  if (group === 'windlass.dev' && REPORTED.has(resource) && (verb === 'update' || verb === 'patch')) {
    if (subresource === 'status') return allow;
    return { allowed: false, reason: `a node may only write the status of ${resource}` };
  }
  if (group === 'windlass.dev' && BOUND[resource]?.has(verb)) return allow;
  return { allowed: false, reason: `nodes may not ${verb} ${resource}` };
}

/** Leases of a node: its heartbeat, and where its components are found. */
export function isOwnLease(namespace: string, name: string, node: string): boolean {
  if (namespace === 'kube-node-lease') return name === node;
  // By their whole names: who chose to be called `controllers` would hold the lease of the leader else.
  return namespace === 'windlass-system' && NODE_COMPONENTS.some((component) => name === `${component}-${node}`);
}
